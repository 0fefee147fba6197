// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU's TCG for `series bench --profile`: counts the executed instructions of each translated block
 * between two addresses of the guest's program, and writes "ADDRESS COUNT" lines for the last such window.
 *
 * Debian packages no qemu-plugin.h; these few lines of its interface, version 2 and later, are stable.
 * One virtual CPU is assumed.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*exec_cb)(unsigned int vcpu, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, exec_cb cb, int flags,
					  void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, exec_cb cb, int flags,
					    void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id,
				    void (*cb)(qemu_plugin_id_t id, void *data), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

__attribute__((visibility("default"))) int qemu_plugin_version = 2;

struct block {
	struct block *next;
	uint64_t address, insns, count, window;
};

static struct block *blocks;
static uint64_t begin, end;
static char *path;
static bool active;

static void count(unsigned int vcpu, void *data)
{
	struct block *block = data;

	(void)vcpu;
	if (active)
		block->count += block->insns;
}

static void open_window(unsigned int vcpu, void *data)
{
	(void)vcpu, (void)data;
	for (struct block *block = blocks; block; block = block->next)
		block->count = 0;
	active = true;
}

static void close_window(unsigned int vcpu, void *data)
{
	(void)vcpu, (void)data;
	for (struct block *block = blocks; active && block; block = block->next)
		block->window = block->count;
	active = false;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	struct block *block = calloc(1, sizeof(*block));

	(void)id;
	block->address = qemu_plugin_tb_vaddr(tb);
	block->insns = n;
	block->next = blocks;
	blocks = block;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, count, 0, block);

	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t address = qemu_plugin_insn_vaddr(insn);

		if (address == begin)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, open_window, 0, NULL);
		if (address == end)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, close_window, 0, NULL);
	}
}

static void finish(qemu_plugin_id_t id, void *data)
{
	FILE *file = fopen(path, "w");

	(void)id, (void)data;
	for (struct block *block = blocks; file && block; block = block->next)
		if (block->window)
			fprintf(file, "%" PRIx64 " %" PRIu64 "\n", block->address, block->window);
	if (file)
		fclose(file);
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "begin=", 6))
			begin = strtoull(argv[i] + 6, NULL, 16);
		if (!strncmp(argv[i], "end=", 4))
			end = strtoull(argv[i] + 4, NULL, 16);
		if (!strncmp(argv[i], "to=", 3))
			path = strdup(argv[i] + 3);
	}
	if (!begin || !end || !path)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, finish, NULL);
	return 0;
}
