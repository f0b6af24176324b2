// SPDX-License-Identifier: GPL-2.0-only
/* Is live; whoever writes to its device died with a mutex of it, which its exit takes. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>

#include "dies.h"

static DEFINE_MUTEX(lock_died_lock);

static ssize_t lock_died_write(struct file *file, const char __user *from,
			       size_t count, loff_t *at)
{
	mutex_lock(&lock_died_lock);
	dies();
	mutex_unlock(&lock_died_lock);
	return count;
}

static const struct file_operations lock_died_fops = {
	.owner = THIS_MODULE,
	.write = lock_died_write,
};

static struct miscdevice lock_died_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "lock_died",
	.fops = &lock_died_fops,
};

static int __init lock_died_init(void)
{
	return misc_register(&lock_died_device);
}

static void __exit lock_died_exit(void)
{
	mutex_lock(&lock_died_lock);
	misc_deregister(&lock_died_device);
	mutex_unlock(&lock_died_lock);
}

module_init(lock_died_init);
module_exit(lock_died_exit);
MODULE_DESCRIPTION("Fault: a call that died with a lock");
MODULE_LICENSE("GPL");
