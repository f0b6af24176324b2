// SPDX-License-Identifier: GPL-2.0-only
/* Dies in exit in a function of the kernel that it calls last: no frame of it is on the stack. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#ifdef FIXED
static struct platform_driver exit_tail_driver = {
	.driver = { .name = "exit_tail" },
};
#endif

static int __init exit_tail_init(void)
{
#ifdef FIXED
	return platform_driver_register(&exit_tail_driver);
#else
	return 0;
#endif
}

static void __exit exit_tail_exit(void)
{
#ifdef FIXED
	platform_driver_unregister(&exit_tail_driver);
#else
	platform_driver_unregister(NULL);
#endif
}

module_init(exit_tail_init);
module_exit(exit_tail_exit);
MODULE_DESCRIPTION("Fault: dies in exit, in a function of the kernel that it calls last");
MODULE_LICENSE("GPL");
