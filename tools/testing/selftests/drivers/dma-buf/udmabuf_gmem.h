/* SPDX-License-Identifier: GPL-2.0 */
/* Files that hold the memory of a virtual machine. */
#ifndef UDMABUF_GMEM_H
#define UDMABUF_GMEM_H

#include <fcntl.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>

#define GMEM_SHARED	(GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

/*
 * A virtual machine that can have memory that is shared with the host. What
 * could not be had, or NULL.
 */
static inline const char *gmem_vm(int *kvm, int *vm)
{
	int flags;

	*kvm = open("/dev/kvm", O_RDWR);
	if (*kvm < 0)
		return "cannot open /dev/kvm";
	*vm = ioctl(*kvm, KVM_CREATE_VM, 0);
	if (*vm < 0)
		return "cannot create a VM";
	flags = ioctl(*vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS);
	if (flags < 0 || (flags & GMEM_SHARED) != GMEM_SHARED)
		return "no guest_memfd with shared memory";
	return NULL;
}

/* A guest_memfd of @vm that is one hole. */
static inline int gmem_create(int vm, size_t size, __u64 flags)
{
	struct kvm_create_guest_memfd c = {
		.size = size,
		.flags = flags,
	};

	return ioctl(vm, KVM_CREATE_GUEST_MEMFD, &c);
}

#endif /* UDMABUF_GMEM_H */
