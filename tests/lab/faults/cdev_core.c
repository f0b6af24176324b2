// SPDX-License-Identifier: GPL-2.0-only
/*
 * The core of a subsystem, as videodev is one: the operations of every open file are its own,
 * the reference that an open file holds is one to the driver, by cdev->owner.
 */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/string.h>

#include "cdev_core.h"

static ssize_t cdev_core_read(struct file *file, char __user *buffer, size_t size,
			      loff_t *offset)
{
	struct cdev_core_device *device = container_of(file_inode(file)->i_cdev,
						       struct cdev_core_device, cdev);
	const char *text = device->text();

	return simple_read_from_buffer(buffer, size, offset, text, strlen(text));
}

static const struct file_operations cdev_core_fops = {
	.owner = THIS_MODULE,
	.read = cdev_core_read,
};

int cdev_core_add(struct cdev_core_device *device, struct module *owner, const char *name)
{
	int error = alloc_chrdev_region(&device->number, 0, 1, name);

	if (error)
		return error;
	cdev_init(&device->cdev, &cdev_core_fops);
	device->cdev.owner = owner;
	error = cdev_add(&device->cdev, device->number, 1);
	if (error)
		unregister_chrdev_region(device->number, 1);
	return error;
}
EXPORT_SYMBOL_GPL(cdev_core_add);

void cdev_core_remove(struct cdev_core_device *device)
{
	cdev_del(&device->cdev);
	unregister_chrdev_region(device->number, 1);
}
EXPORT_SYMBOL_GPL(cdev_core_remove);

static int __init cdev_core_init(void)
{
	return 0;
}

static void __exit cdev_core_exit(void)
{
}

module_init(cdev_core_init);
module_exit(cdev_core_exit);
MODULE_DESCRIPTION("No fault: the core whose operations an open device has");
MODULE_LICENSE("GPL");
