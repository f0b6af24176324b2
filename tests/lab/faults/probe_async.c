// SPDX-License-Identifier: GPL-2.0-only
/*
 * The probe of its driver dies in another thread, as init had asked: insmod waits for that for
 * ever, and so does whoever loads or unloads a module afterwards.
 */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#include "dies.h"

static struct platform_device *device;

static int probe_async_probe(struct platform_device *found)
{
	return dies();
}

static struct platform_driver probe_async_driver = {
	.driver = {
		.name = "lab_probe_async",
		.probe_type = PROBE_PREFER_ASYNCHRONOUS,
	},
	.probe = probe_async_probe,
};

static int __init probe_async_init(void)
{
	int error;

	device = platform_device_register_simple("lab_probe_async", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(device))
		return PTR_ERR(device);
	error = platform_driver_register(&probe_async_driver);
	if (error)
		platform_device_unregister(device);
	return error;
}

static void __exit probe_async_exit(void)
{
	platform_driver_unregister(&probe_async_driver);
	platform_device_unregister(device);
}

module_init(probe_async_init);
module_exit(probe_async_exit);
MODULE_DESCRIPTION("Fault: a probe that dies in a thread of its own");
MODULE_LICENSE("GPL");
