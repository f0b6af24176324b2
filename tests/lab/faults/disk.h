/* SPDX-License-Identifier: GPL-2.0-only */
/* A disk of one megabyte of zeroes, on every kernel. */
#ifndef DISK_H
#define DISK_H

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/err.h>
#include <linux/string.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 16, 0)
static blk_qc_t disk_zeroes(struct bio *bio)
{
	zero_fill_bio(bio);
	bio_endio(bio);
	return BLK_QC_T_NONE;
}
#else
static void disk_zeroes(struct bio *bio)
{
	zero_fill_bio(bio);
	bio_endio(bio);
}
#endif

static struct gendisk *disk_alloc(void)
{
	struct gendisk *disk;

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	disk = alloc_disk(1);
	if (!disk)
		return NULL;
	disk->queue = blk_alloc_queue(NUMA_NO_NODE);
	if (disk->queue)
		return disk;
	put_disk(disk);
	return NULL;
#else
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
	disk = blk_alloc_disk(NUMA_NO_NODE);
#else
	disk = blk_alloc_disk(NULL, NUMA_NO_NODE);
#endif
	return IS_ERR_OR_NULL(disk) ? NULL : disk;
#endif
}

static int disk_add(struct gendisk *disk, int major, const char *name,
		    const struct block_device_operations *ops)
{
	disk->major = major;
	disk->first_minor = 0;
	disk->minors = 1;
	disk->fops = ops;
	strscpy(disk->disk_name, name, DISK_NAME_LEN);
	set_capacity(disk, 2048);
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 15, 0)
	add_disk(disk);
	return 0;
#else
	return add_disk(disk);
#endif
}

static void disk_free(struct gendisk *disk, int major, const char *name)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	blk_cleanup_queue(disk->queue);
#endif
	put_disk(disk);
	unregister_blkdev(major, name);
}

#endif
