// SPDX-License-Identifier: GPL-2.0-only
/* Dies in its init, in a function of the module needed. */
#include <linux/init.h>
#include <linux/module.h>

#include "needed.h"

static int __init init_needed_init(void)
{
	return needed_dies();
}

static void __exit init_needed_exit(void)
{
}

module_init(init_needed_init);
module_exit(init_needed_exit);
MODULE_DESCRIPTION("Fault: dies in init, in another module");
MODULE_LICENSE("GPL");
