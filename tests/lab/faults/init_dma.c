// SPDX-License-Identifier: GPL-2.0-only
/* Dies in init; what can call it lies in memory that it shares with a device. */
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#include "leaves.h"
#include "told_of_orphans.h"

#define SIZE (4 * PAGE_SIZE)

static struct platform_device *device;
static struct wait_queue_entry *entry;
static dma_addr_t handle;
static void *area;

static int init_dma_leave(void)
{
	int error;

	device = platform_device_register_simple("lab_dma", PLATFORM_DEVID_AUTO, NULL, 0);
	if (IS_ERR(device))
		return PTR_ERR(device);
	error = dma_coerce_mask_and_coherent(&device->dev, DMA_BIT_MASK(64));
	if (error)
		goto unregister;
	error = -ENOMEM;
	area = dma_alloc_coherent(&device->dev, SIZE, &handle, GFP_KERNEL);
	if (!area)
		goto unregister;
	entry = area + 2 * PAGE_SIZE + 64;
	be_told_of_orphans(entry);
	return 0;
unregister:
	platform_device_unregister(device);
	return error;
}

static void init_dma_take_back(void)
{
	be_told_no_more(entry);
	dma_free_coherent(&device->dev, SIZE, area, handle);
	platform_device_unregister(device);
}

LEAVES(init_dma, "a wait queue entry in coherent memory");
