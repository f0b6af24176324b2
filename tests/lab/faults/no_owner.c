// SPDX-License-Identifier: GPL-2.0-only
/* A device without an owner: who sleeps in its read, until somebody writes, holds no reference. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/wait.h>

static DECLARE_WAIT_QUEUE_HEAD(queue);
static bool written;

static ssize_t no_owner_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	return wait_event_interruptible(queue, READ_ONCE(written));
}

static ssize_t no_owner_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	WRITE_ONCE(written, true);
	wake_up(&queue);
	return size;
}

static const struct file_operations no_owner_fops = {
#ifdef FIXED
	.owner = THIS_MODULE,
#endif
	.read = no_owner_read,
	.write = no_owner_write,
};

static struct miscdevice no_owner_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "no_owner",
	.fops = &no_owner_fops,
};

module_misc_device(no_owner_device);
MODULE_DESCRIPTION("Fault: a task asleep in the module's code without a reference");
MODULE_LICENSE("GPL");
