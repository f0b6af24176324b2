// SPDX-License-Identifier: GPL-2.0-only
/* A live patch, which is enabled: swapon(2) is said to be forbidden. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/livepatch.h>
#include <linux/module.h>

#ifdef CONFIG_LIVEPATCH
#ifdef CONFIG_ARM64
#define CALL "__arm64_sys_swapon"
#else
#define CALL "__x64_sys_swapon"
#endif

static asmlinkage long used_livepatch_swapon(const struct pt_regs *regs)
{
	return -EUSERS;
}

static struct klp_func used_livepatch_functions[] = {
	{ .old_name = CALL, .new_func = used_livepatch_swapon },
	{ }
};

static struct klp_object used_livepatch_objects[] = {
	{ .funcs = used_livepatch_functions },
	{ }
};

static struct klp_patch used_livepatch_patch = {
	.mod = THIS_MODULE,
	.objs = used_livepatch_objects,
};

static int __init used_livepatch_init(void)
{
	return klp_enable_patch(&used_livepatch_patch);
}

MODULE_INFO(livepatch, "Y");
#else
static int __init used_livepatch_init(void)
{
	return -EOPNOTSUPP;
}
#endif

static void __exit used_livepatch_exit(void)
{
}

module_init(used_livepatch_init);
module_exit(used_livepatch_exit);
MODULE_DESCRIPTION("No fault: a live patch that is enabled");
MODULE_LICENSE("GPL");
