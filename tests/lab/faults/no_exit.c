// SPDX-License-Identifier: GPL-2.0-only
/* Has an init and no exit: the kernel calls it permanent. */
#include <linux/init.h>
#include <linux/module.h>

static int __init no_exit_init(void)
{
	return 0;
}
module_init(no_exit_init);

#ifdef FIXED
static void __exit no_exit_exit(void)
{
}
module_exit(no_exit_exit);
#endif

MODULE_DESCRIPTION("Fault: no exit function");
MODULE_LICENSE("GPL");
