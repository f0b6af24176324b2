// SPDX-License-Identifier: GPL-2.0-only
/* A disk of one megabyte of zeroes whose operations name no owner; a loop device lies on it. */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>

#include "disk.h"

static struct gendisk *disk;
static int major;

static const struct block_device_operations disk_unowned_ops = {
	.submit_bio = disk_zeroes,
};

static int __init disk_unowned_init(void)
{
	int error;

	major = register_blkdev(0, "disk_unowned");
	if (major < 0)
		return major;
	disk = disk_alloc();
	if (!disk) {
		unregister_blkdev(major, "disk_unowned");
		return -ENOMEM;
	}
	error = disk_add(disk, major, "disk_unowned", &disk_unowned_ops);
	if (error)
		disk_free(disk, major, "disk_unowned");
	return error;
}

static void __exit disk_unowned_exit(void)
{
	del_gendisk(disk);
	disk_free(disk, major, "disk_unowned");
}

module_init(disk_unowned_init);
module_exit(disk_unowned_exit);
MODULE_DESCRIPTION("Fault: a disk without owner, in use");
MODULE_LICENSE("GPL");
