// SPDX-License-Identifier: GPL-2.0-only
/* Exports a function that used_by calls. */
#include <linux/init.h>
#include <linux/module.h>

#include "used_base.h"

int used_base_answer(void)
{
	return 42;
}
EXPORT_SYMBOL_GPL(used_base_answer);

static int __init used_base_init(void)
{
	return 0;
}

static void __exit used_base_exit(void)
{
}

module_init(used_base_init);
module_exit(used_base_exit);
MODULE_DESCRIPTION("Fault: used by another module");
MODULE_LICENSE("GPL");
