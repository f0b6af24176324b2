// SPDX-License-Identifier: GPL-2.0-only
/* Adds a disk of one megabyte of zeroes, /dev/init_disk, and dies in init. */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/version.h>

#include "leaves.h"

static struct gendisk *disk;
static int major;

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 16, 0)
static blk_qc_t init_disk_submit(struct bio *bio)
{
	zero_fill_bio(bio);
	bio_endio(bio);
	return BLK_QC_T_NONE;
}
#else
static void init_disk_submit(struct bio *bio)
{
	zero_fill_bio(bio);
	bio_endio(bio);
}
#endif

static const struct block_device_operations init_disk_ops = {
	.owner = THIS_MODULE,
	.submit_bio = init_disk_submit,
};

static int init_disk_alloc(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	disk = alloc_disk(1);
	if (disk)
		disk->queue = blk_alloc_queue(NUMA_NO_NODE);
	return disk && disk->queue ? 0 : -ENOMEM;
#else
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
	disk = blk_alloc_disk(NUMA_NO_NODE);
#else
	disk = blk_alloc_disk(NULL, NUMA_NO_NODE);
#endif
	return IS_ERR_OR_NULL(disk) ? -ENOMEM : 0;
#endif
}

static int init_disk_leave(void)
{
	major = register_blkdev(0, "init_disk");
	if (major < 0)
		return major;
	if (init_disk_alloc()) {
		unregister_blkdev(major, "init_disk");
		return -ENOMEM;
	}
	disk->major = major;
	disk->first_minor = 0;
	disk->minors = 1;
	disk->fops = &init_disk_ops;
	strscpy(disk->disk_name, "init_disk", DISK_NAME_LEN);
	set_capacity(disk, 2048);
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 15, 0)
	add_disk(disk);
	return 0;
#else
	return add_disk(disk);
#endif
}

static void init_disk_take_back(void)
{
	del_gendisk(disk);
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	blk_cleanup_queue(disk->queue);
#endif
	put_disk(disk);
	unregister_blkdev(major, "init_disk");
}

LEAVES(init_disk, "a disk added");
