// SPDX-License-Identifier: GPL-2.0-only
/* Adds a disk of one megabyte of zeroes, /dev/init_disk, and dies in init. */
#include <linux/blkdev.h>
#include <linux/errno.h>

#include "disk.h"
#include "leaves.h"

static struct gendisk *disk;
static int major;

static const struct block_device_operations init_disk_ops = {
	.owner = THIS_MODULE,
	.submit_bio = disk_zeroes,
};

static int init_disk_leave(void)
{
	major = register_blkdev(0, "init_disk");
	if (major < 0)
		return major;
	disk = disk_alloc();
	if (!disk) {
		unregister_blkdev(major, "init_disk");
		return -ENOMEM;
	}
	return disk_add(disk, major, "init_disk", &init_disk_ops);
}

static void init_disk_take_back(void)
{
	del_gendisk(disk);
	disk_free(disk, major, "init_disk");
}

LEAVES(init_disk, "a disk added");
