// SPDX-License-Identifier: GPL-2.0-only
/* Uses used_base, which cannot go while this one is loaded. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>

#include "used_base.h"

static int __init used_by_init(void)
{
	return used_base_answer() == 42 ? 0 : -EINVAL;
}

static void __exit used_by_exit(void)
{
}

module_init(used_by_init);
module_exit(used_by_exit);
MODULE_DESCRIPTION("Fault: uses another module");
MODULE_LICENSE("GPL");
