// SPDX-License-Identifier: GPL-2.0-only
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/version.h>

#include "steps.h"
#include "text.h"

static dev_t number;
static struct cdev device;
static struct class *class;

static int make_number(void)
{
	return alloc_chrdev_region(&number, 0, 1, NAME);
}

static void drop_number(void)
{
	unregister_chrdev_region(number, 1);
}

static int make_cdev(void)
{
	cdev_init(&device, &text_fops);
	device.owner = THIS_MODULE;
	return cdev_add(&device, number, 1);
}

static void drop_cdev(void)
{
	cdev_del(&device);
}

static int make_class(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
	class = class_create(THIS_MODULE, NAME);
#else
	class = class_create(NAME);
#endif
	return PTR_ERR_OR_ZERO(class);
}

static void drop_class(void)
{
	class_destroy(class);
}

static int make_device(void)
{
	return PTR_ERR_OR_ZERO(device_create(class, NULL, number, NULL, NAME));
}

static void drop_device(void)
{
	device_destroy(class, number);
}

static const struct step steps[] = {
	{ make_number, drop_number },
	{ make_cdev, drop_cdev },
	{ make_class, drop_class },
	{ make_device, drop_device },
};

SAMPLE("a character device with its class");
