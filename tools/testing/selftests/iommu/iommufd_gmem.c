// SPDX-License-Identifier: GPL-2.0
/*
 * Maps a guest_memfd, the memory of a virtual machine, for a device: what the
 * device and the file see must be the same, and what the host may not see must
 * not be mapped.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <sys/mman.h>

#define __EXPORTED_HEADERS__
#include <linux/iommufd.h>

#include "iommufd_utils.h"

#define NPAGES 16
#define IOVA MOCK_APERTURE_START
#define SHARED (GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

FIXTURE(iommufd_gmem)
{
	int fd;
	int kvm;
	int vm;
	__u32 ioas_id;
	__u32 hwpt_id;
	__u32 access_id;
};

FIXTURE_VARIANT(iommufd_gmem)
{
	bool domain_first;
};

FIXTURE_VARIANT_ADD(iommufd_gmem, domain_first)
{
	.domain_first = true,
};

FIXTURE_VARIANT_ADD(iommufd_gmem, domain_later)
{
	.domain_first = false,
};

static int gmem_create(int vm, __u64 flags)
{
	struct kvm_create_guest_memfd c = {
		.size = BUFFER_SIZE,
		.flags = flags,
	};

	return ioctl(vm, KVM_CREATE_GUEST_MEMFD, &c);
}

FIXTURE_SETUP(iommufd_gmem)
{
	int flags;

	PAGE_SIZE = sysconf(_SC_PAGE_SIZE);
	BUFFER_SIZE = NPAGES * PAGE_SIZE;

	self->fd = -1;
	self->vm = -1;
	self->kvm = open("/dev/kvm", O_RDWR);
	if (self->kvm == -1)
		SKIP(return, "cannot open /dev/kvm: %s", strerror(errno));
	self->vm = ioctl(self->kvm, KVM_CREATE_VM, 0);
	if (self->vm == -1)
		SKIP(return, "cannot create a VM: %s", strerror(errno));
	flags = ioctl(self->vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS);
	if (flags < 0 || (flags & SHARED) != SHARED)
		SKIP(return, "no guest_memfd with shared memory (%#x)", flags);

	mfd = gmem_create(self->vm, SHARED);
	ASSERT_NE(-1, mfd);
	mfd_buffer = mmap(NULL, BUFFER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			  mfd, 0);
	ASSERT_NE(MAP_FAILED, mfd_buffer);
	/* For teardown_iommufd(), which checks that no pin of it is left */
	buffer = mfd_buffer;

	self->fd = open("/dev/iommu", O_RDWR);
	ASSERT_NE(-1, self->fd);
	test_ioctl_ioas_alloc(&self->ioas_id);
	test_cmd_create_access(self->ioas_id, &self->access_id, 0);
	if (variant->domain_first)
		test_cmd_mock_domain(self->ioas_id, NULL, &self->hwpt_id, NULL);
}

FIXTURE_TEARDOWN(iommufd_gmem)
{
	if (self->fd != -1) {
		test_cmd_destroy_access(self->access_id);
		teardown_iommufd(self->fd, _metadata);
		munmap(mfd_buffer, BUFFER_SIZE);
		close(mfd);
	}
	close(self->vm);
	close(self->kvm);
}

/* Map all of the file; its pages are pinned when there is a domain. */
#define map_with_domain()                                                   \
	({                                                                  \
		test_ioctl_ioas_map_fixed_file(mfd, 0, BUFFER_SIZE, IOVA);  \
		if (!variant->domain_first)                                 \
			test_cmd_mock_domain(self->ioas_id, NULL,           \
					     &self->hwpt_id, NULL);         \
	})

/* Access a byte in page @index, as the driver of a device does. */
#define access_byte(index, byte_p, _flags)                                   \
	({                                                                   \
		struct iommu_test_cmd cmd = {                                \
			.size = sizeof(cmd),                                 \
			.op = IOMMU_TEST_OP_ACCESS_RW,                       \
			.id = self->access_id,                               \
			.access_rw = { .iova = IOVA + (index) * PAGE_SIZE,   \
				       .length = 1,                          \
				       .uptr = (uintptr_t)(byte_p),          \
				       .flags = _flags },                    \
		};                                                           \
		ASSERT_EQ(0, ioctl(self->fd,                                 \
				   _IOMMU_TEST_CMD(IOMMU_TEST_OP_ACCESS_RW), \
				   &cmd));                                   \
	})

TEST_F(iommufd_gmem, same_memory)
{
	struct iommu_test_cmd check_map_cmd = {
		.size = sizeof(check_map_cmd),
		.op = IOMMU_TEST_OP_MD_CHECK_MAP,
		.check_map = { .iova = IOVA,
			       .length = BUFFER_SIZE,
			       .uptr = (uintptr_t)mfd_buffer },
	};
	uint8_t *mem = mfd_buffer;
	uint8_t byte;
	int i;

	/* Half of the pages exist before they are pinned */
	for (i = 0; i < NPAGES; i += 2)
		mem[i * PAGE_SIZE] = i + 1;

	map_with_domain();
	check_refs(mfd_buffer, BUFFER_SIZE, 1);
	check_map_cmd.id = self->hwpt_id;
	EXPECT_EQ(0, ioctl(self->fd,
			   _IOMMU_TEST_CMD(IOMMU_TEST_OP_MD_CHECK_MAP),
			   &check_map_cmd));

	for (i = 0; i < NPAGES; i++) {
		access_byte(i, &byte, 0);
		EXPECT_EQ(i % 2 ? 0 : i + 1, byte);
		byte = 'a' + i;
		access_byte(i, &byte, MOCK_ACCESS_RW_WRITE);
		EXPECT_EQ('a' + i, mem[i * PAGE_SIZE]);
	}

	test_ioctl_ioas_unmap(IOVA, BUFFER_SIZE);
	check_refs(mfd_buffer, BUFFER_SIZE, 0);
	for (i = 0; i < NPAGES; i++)
		EXPECT_EQ('a' + i, mem[i * PAGE_SIZE]);
}

/* The hole takes the memory from the file, but not from the device */
TEST_F(iommufd_gmem, punch_hole)
{
	uint8_t *mem = mfd_buffer;
	uint8_t byte;

	map_with_domain();
	byte = 'x';
	access_byte(0, &byte, MOCK_ACCESS_RW_WRITE);
	access_byte(1, &byte, MOCK_ACCESS_RW_WRITE);

	ASSERT_EQ(0, fallocate(mfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       0, PAGE_SIZE));
	EXPECT_EQ(0, mem[0]);
	EXPECT_EQ('x', mem[PAGE_SIZE]);
	mem[0] = 'y';
	access_byte(0, &byte, 0);
	EXPECT_EQ('x', byte);
}

/* Refused at once, not only when a domain needs the pages */
TEST_F(iommufd_gmem, private_memory)
{
	static const __u64 flags[] = {
		0,
		GUEST_MEMFD_FLAG_MMAP,
		GUEST_MEMFD_FLAG_INIT_SHARED,
	};
	unsigned int i;
	__u64 iova;
	int fd, rc;

	for (i = 0; i != ARRAY_SIZE(flags); i++) {
		fd = gmem_create(self->vm, flags[i]);
		ASSERT_NE(-1, fd);
		test_err_ioctl_ioas_map_file(EPERM, fd, 0, PAGE_SIZE, &iova);
		rc = _test_ioctl_ioas_map_file(self->fd, self->ioas_id, fd, 0,
					       PAGE_SIZE, &iova,
					       IOMMU_IOAS_MAP_READABLE);
		EXPECT_ERRNO(EPERM, rc);
		close(fd);
	}
}

TEST_HARNESS_MAIN
