// SPDX-License-Identifier: GPL-2.0-only
/* Is held by got_by, which asks for its symbol when it runs, so that no list of holders says so. */
#include <linux/init.h>
#include <linux/module.h>

#include "got_base.h"

int got_base_value(void)
{
	return 7;
}
EXPORT_SYMBOL_GPL(got_base_value);

static int __init got_base_init(void)
{
	return 0;
}

static void __exit got_base_exit(void)
{
}

module_init(got_base_init);
module_exit(got_base_exit);
MODULE_DESCRIPTION("Fault: held by another module without a link");
MODULE_LICENSE("GPL");
