// SPDX-License-Identifier: GPL-2.0-only
/* Registers a driver and a device of it, the removal of which crashes, and dies in init. */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/version.h>

#include "leaves.h"

static struct platform_device *device;

static int init_removes_probe(struct platform_device *probed)
{
	return 0;
}

/* What it needs was to be made ready later in init. */
static void init_removes_let_go(struct platform_device *probed)
{
	dies_if(true);
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
static int init_removes_remove(struct platform_device *probed)
{
	init_removes_let_go(probed);
	return 0;
}
#else
#define init_removes_remove init_removes_let_go
#endif

static struct platform_driver init_removes_driver = {
	.probe = init_removes_probe,
	.remove = init_removes_remove,
	.driver = { .name = "lab_removes" },
};

static int init_removes_leave(void)
{
	int error = platform_driver_register(&init_removes_driver);

	if (error)
		return error;
	device = platform_device_register_simple("lab_removes", -1, NULL, 0);
	error = PTR_ERR_OR_ZERO(device);
	if (error)
		platform_driver_unregister(&init_removes_driver);
	return error;
}

static void init_removes_take_back(void)
{
	platform_device_unregister(device);
	platform_driver_unregister(&init_removes_driver);
}

LEAVES(init_removes, "a driver and its device registered");
