// SPDX-License-Identifier: GPL-2.0-only
/* Makes a character device with a class and /dev/init_class, and dies in init. */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/version.h>

#include "leaves.h"

static dev_t number;
static struct cdev device;
static struct class *class;

static ssize_t init_class_read(struct file *opened, char __user *to, size_t size, loff_t *at)
{
	return simple_read_from_buffer(to, size, at, "lab\n", 4);
}

static const struct file_operations init_class_fops = {
	.owner = THIS_MODULE,
	.read = init_class_read,
};

static struct class *init_class_make(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
	return class_create(THIS_MODULE, "init_class");
#else
	return class_create("init_class");
#endif
}

static int init_class_leave(void)
{
	struct device *made;
	int error = alloc_chrdev_region(&number, 0, 1, "init_class");

	if (error)
		return error;
	cdev_init(&device, &init_class_fops);
	device.owner = THIS_MODULE;
	error = cdev_add(&device, number, 1);
	if (error)
		goto region;
	class = init_class_make();
	error = PTR_ERR_OR_ZERO(class);
	if (error)
		goto added;
	made = device_create(class, NULL, number, NULL, "init_class");
	error = PTR_ERR_OR_ZERO(made);
	if (!error)
		return 0;
	class_destroy(class);
added:
	cdev_del(&device);
region:
	unregister_chrdev_region(number, 1);
	return error;
}

static void init_class_take_back(void)
{
	device_destroy(class, number);
	class_destroy(class);
	cdev_del(&device);
	unregister_chrdev_region(number, 1);
}

LEAVES(init_class, "a character device and its class made");
