// SPDX-License-Identifier: GPL-2.0-only
/* A binary format that names no owner; whoever reads a parameter of it runs by it from then on. */
#include <linux/binfmts.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static int binfmt_unowned_load(struct linux_binprm *program)
{
	return -ENOEXEC;
}

static struct linux_binfmt binfmt_unowned_format = {
	.load_binary = binfmt_unowned_load,
};

static int binfmt_unowned_run(char *to, const struct kernel_param *parameter)
{
	set_binfmt(&binfmt_unowned_format);
	return 0;
}

static const struct kernel_param_ops binfmt_unowned_ops = {
	.get = binfmt_unowned_run,
};

module_param_cb(run, &binfmt_unowned_ops, NULL, 0444);

static int __init binfmt_unowned_init(void)
{
	register_binfmt(&binfmt_unowned_format);
	return 0;
}

static void __exit binfmt_unowned_exit(void)
{
	unregister_binfmt(&binfmt_unowned_format);
}

module_init(binfmt_unowned_init);
module_exit(binfmt_unowned_exit);
MODULE_DESCRIPTION("Fault: a binary format without owner, in use");
MODULE_LICENSE("GPL");
