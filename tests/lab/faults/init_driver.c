// SPDX-License-Identifier: GPL-2.0-only
/* Registers a driver that has no device and dies in init. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#include "dies.h"

static struct platform_driver init_driver_driver = {
	.driver = { .name = "lab_driver" },
};

static int __init init_driver_init(void)
{
	int error = platform_driver_register(&init_driver_driver);

	return error ? error : dies();
}

static void __exit init_driver_exit(void)
{
	dies_late();
	platform_driver_unregister(&init_driver_driver);
}

module_init(init_driver_init);
module_exit(init_driver_exit);
MODULE_DESCRIPTION("Fault: dies in init with a driver registered");
MODULE_LICENSE("GPL");
