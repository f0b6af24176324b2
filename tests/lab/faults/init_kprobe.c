// SPDX-License-Identifier: GPL-2.0-only
/* Sets a kprobe on vfs_mkdir and dies in init. */
#include <linux/init.h>
#include <linux/kprobes.h>
#include <linux/module.h>

#include "dies.h"

static int init_kprobe_hit(struct kprobe *probe, struct pt_regs *regs)
{
	return 0;
}

static struct kprobe init_kprobe_probe = {
	.symbol_name = "vfs_mkdir",
	.pre_handler = init_kprobe_hit,
};

static int __init init_kprobe_init(void)
{
	int error = register_kprobe(&init_kprobe_probe);

	return error ? error : dies();
}

static void __exit init_kprobe_exit(void)
{
	dies_late();
	unregister_kprobe(&init_kprobe_probe);
}

module_init(init_kprobe_init);
module_exit(init_kprobe_exit);
MODULE_DESCRIPTION("Fault: dies in init with a kprobe set");
MODULE_LICENSE("GPL");
