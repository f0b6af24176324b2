// SPDX-License-Identifier: GPL-2.0-only
/* A device that gives out DMA buffers whose exporter names no owner; a process has one. */
#include <linux/dma-buf.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/version.h>

static struct sg_table *dmabuf_unowned_map(struct dma_buf_attachment *to,
					   enum dma_data_direction way)
{
	return ERR_PTR(-EIO);
}

static void dmabuf_unowned_unmap(struct dma_buf_attachment *from,
				 struct sg_table *table,
				 enum dma_data_direction way)
{
}

static void dmabuf_unowned_release(struct dma_buf *buffer)
{
}

static const struct dma_buf_ops dmabuf_unowned_ops = {
	.map_dma_buf = dmabuf_unowned_map,
	.unmap_dma_buf = dmabuf_unowned_unmap,
	.release = dmabuf_unowned_release,
};

static long dmabuf_unowned_ioctl(struct file *file, unsigned int command,
				 unsigned long argument)
{
	struct dma_buf_export_info info = {
		.exp_name = "dmabuf_unowned",
		.ops = &dmabuf_unowned_ops,
		.size = PAGE_SIZE,
		.flags = O_RDWR,
		.priv = dmabuf_unowned_map,
	};
	struct dma_buf *buffer = dma_buf_export(&info);

	return IS_ERR(buffer) ? PTR_ERR(buffer) : dma_buf_fd(buffer, 0);
}

static const struct file_operations dmabuf_unowned_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = dmabuf_unowned_ioctl,
};

static struct miscdevice dmabuf_unowned_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dmabuf_unowned",
	.fops = &dmabuf_unowned_fops,
};

module_misc_device(dmabuf_unowned_device);
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS(DMA_BUF);
#else
MODULE_IMPORT_NS("DMA_BUF");
#endif
MODULE_DESCRIPTION("Fault: a DMA buffer without owner, in use");
MODULE_LICENSE("GPL");
