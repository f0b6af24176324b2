// SPDX-License-Identifier: GPL-2.0-only
/* Sets a kretprobe on vfs_rmdir and dies in init. */
#include <linux/init.h>
#include <linux/kprobes.h>
#include <linux/module.h>

#include "leaves.h"

static int init_kretprobe_hit(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	return 0;
}

static struct kretprobe init_kretprobe_probe = {
	.kp.symbol_name = "vfs_rmdir",
	.handler = init_kretprobe_hit,
};

static int init_kretprobe_leave(void)
{
	return register_kretprobe(&init_kretprobe_probe);
}

static void init_kretprobe_take_back(void)
{
	unregister_kretprobe(&init_kretprobe_probe);
}

LEAVES(init_kretprobe, "a kretprobe set");
