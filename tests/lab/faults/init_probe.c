// SPDX-License-Identifier: GPL-2.0-only
/* Dies in its init, in the probe of its driver, and with the lock of the device. */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#include "dies.h"

static struct platform_device *device;

static int init_probe_probe(struct platform_device *probed)
{
	return dies();
}

static struct platform_driver init_probe_driver = {
	.probe = init_probe_probe,
	.driver = { .name = "lab_probe" },
};

static int __init init_probe_init(void)
{
	int error;

	device = platform_device_register_simple("lab_probe", -1, NULL, 0);
	if (IS_ERR(device))
		return PTR_ERR(device);
	error = platform_driver_register(&init_probe_driver);
	if (error)
		platform_device_unregister(device);
	return error;
}

static void __exit init_probe_exit(void)
{
	platform_driver_unregister(&init_probe_driver);
	platform_device_unregister(device);
}

module_init(init_probe_init);
module_exit(init_probe_exit);
MODULE_DESCRIPTION("Fault: dies in the probe of a driver");
MODULE_LICENSE("GPL");
