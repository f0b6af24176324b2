// SPDX-License-Identifier: GPL-2.0-only
#include <linux/err.h>
#include <linux/platform_device.h>

#include "steps.h"

static struct platform_device *device;

/* Dies with the lock of the device held. */
static int probe(struct platform_device *probed)
{
	passed(2);
	served++;
	return 0;
}

static struct platform_driver driver = {
	.probe = probe,
	.driver = { .name = NAME },
};

static int make_device(void)
{
	device = platform_device_register_simple(NAME, -1, NULL, 0);
	return PTR_ERR_OR_ZERO(device);
}

static void drop_device(void)
{
	platform_device_unregister(device);
}

static int make_driver(void)
{
	return platform_driver_register(&driver);
}

static void drop_driver(void)
{
	platform_driver_unregister(&driver);
}

static const struct step steps[] = {
	{ make_device, drop_device },
	{ make_driver, drop_driver },
};

SAMPLE("a driver that dies in the probe of its device");
