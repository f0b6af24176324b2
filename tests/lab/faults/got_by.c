// SPDX-License-Identifier: GPL-2.0-only
/* Holds got_base by its symbol, and calls it whenever the parameter `call` is read. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

#include "got_base.h"

static int (*value)(void);

static int got_by_call(char *to, const struct kernel_param *parameter)
{
	return sysfs_emit(to, "%d\n", value ? value() : 0);
}

static const struct kernel_param_ops got_by_ops = {
	.get = got_by_call,
};

module_param_cb(call, &got_by_ops, NULL, 0444);

static int __init got_by_init(void)
{
#ifndef FIXED
	value = symbol_get(got_base_value);
	if (!value)
		return -ENOENT;
#endif
	return 0;
}

static void __exit got_by_exit(void)
{
	if (value)
		symbol_put(got_base_value);
}

module_init(got_by_init);
module_exit(got_by_exit);
MODULE_DESCRIPTION("Fault: holds another module without a link");
MODULE_LICENSE("GPL");
