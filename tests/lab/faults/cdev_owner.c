// SPDX-License-Identifier: GPL-2.0-only
/* A character device held open whose cdev has an owner and whose file operations have none. */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>

static dev_t number;
static struct cdev device;

static ssize_t cdev_owner_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	return simple_read_from_buffer(to, size, at, "lab\n", 4);
}

static const struct file_operations cdev_owner_fops = {
	.read = cdev_owner_read,
};

static int __init cdev_owner_init(void)
{
	int error = alloc_chrdev_region(&number, 0, 1, "cdev_owner");

	if (error)
		return error;
	cdev_init(&device, &cdev_owner_fops);
	device.owner = THIS_MODULE;
	error = cdev_add(&device, number, 1);
	if (error)
		unregister_chrdev_region(number, 1);
	return error;
}

static void __exit cdev_owner_exit(void)
{
	cdev_del(&device);
	unregister_chrdev_region(number, 1);
}

module_init(cdev_owner_init);
module_exit(cdev_owner_exit);
MODULE_DESCRIPTION("Fault: a character device whose cdev alone has an owner");
MODULE_LICENSE("GPL");
