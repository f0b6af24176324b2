// SPDX-License-Identifier: GPL-2.0-only
/* Takes a reference to itself each time that its parameter "take" is written, for ever. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static int sysfs_ref_take(const char *text, const struct kernel_param *parameter)
{
#ifndef FIXED
	if (!try_module_get(THIS_MODULE))
		return -ENODEV;
#endif
	return 0;
}

static const struct kernel_param_ops sysfs_ref_ops = {
	.set = sysfs_ref_take,
};
module_param_cb(take, &sysfs_ref_ops, NULL, 0200);

static int __init sysfs_ref_init(void)
{
	return 0;
}

static void __exit sysfs_ref_exit(void)
{
}

module_init(sysfs_ref_init);
module_exit(sysfs_ref_exit);
MODULE_DESCRIPTION("Fault: a reference taken by a write to sysfs, and never given back");
MODULE_LICENSE("GPL");
