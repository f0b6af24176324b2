// SPDX-License-Identifier: GPL-2.0-only
/* The driver of a device of cdev_core's, /dev/cdev_driver, which a process has open. */
#include <linux/init.h>
#include <linux/module.h>

#include "cdev_core.h"

static const char *cdev_driver_text(void)
{
	return "here\n";
}

static struct cdev_core_device cdev_driver_device = {
	.text = cdev_driver_text,
};

static int __init cdev_driver_init(void)
{
	return cdev_core_add(&cdev_driver_device, THIS_MODULE, "cdev_driver");
}

static void __exit cdev_driver_exit(void)
{
	cdev_core_remove(&cdev_driver_device);
}

module_init(cdev_driver_init);
module_exit(cdev_driver_exit);
MODULE_DESCRIPTION("No fault: an open device whose operations are another module's");
MODULE_LICENSE("GPL");
