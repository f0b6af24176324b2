// SPDX-License-Identifier: GPL-2.0-only
/* A character device, /dev/cdev_held, that a process holds open. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

static const struct file_operations cdev_held_fops = {
	.owner = THIS_MODULE,
};

static struct miscdevice cdev_held_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "cdev_held",
	.fops = &cdev_held_fops,
};

static int __init cdev_held_init(void)
{
	return misc_register(&cdev_held_device);
}

static void __exit cdev_held_exit(void)
{
	misc_deregister(&cdev_held_device);
}

module_init(cdev_held_init);
module_exit(cdev_held_exit);
MODULE_DESCRIPTION("Fault: a character device held open");
MODULE_LICENSE("GPL");
