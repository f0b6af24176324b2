// SPDX-License-Identifier: GPL-2.0-only
/* Is healthy and kept by init_needed, whose init died in a function of this one. */
#include <linux/init.h>
#include <linux/module.h>

#include "dies.h"
#include "needed.h"

int needed_dies(void)
{
	return dies();
}
EXPORT_SYMBOL_GPL(needed_dies);

static int __init needed_init(void)
{
	return 0;
}

static void __exit needed_exit(void)
{
}

module_init(needed_init);
module_exit(needed_exit);
MODULE_DESCRIPTION("Fault: kept by a module that died in its code");
MODULE_LICENSE("GPL");
