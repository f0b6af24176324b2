// SPDX-License-Identifier: GPL-2.0-only
/* Has a misc device and, on x86-64, an interrupt: both call init_borrows in the end. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "lent.h"

static const struct file_operations lent_fops = {
	.owner = THIS_MODULE,
};

static struct miscdevice lent_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "lent",
	.fops = &lent_fops,
};

struct miscdevice *lent_get(void)
{
	return &lent_device;
}
EXPORT_SYMBOL_GPL(lent_get);

static irqreturn_t lent_handle(int number, void *device)
{
	return IRQ_NONE;
}

static int __init lent_init(void)
{
	int error = misc_register(&lent_device);

	if (!error && IS_ENABLED(CONFIG_X86)) {
		error = request_irq(5, lent_handle, IRQF_SHARED, "lent", &lent_device);
		if (error)
			misc_deregister(&lent_device);
	}
	return error;
}

static void __exit lent_exit(void)
{
	if (IS_ENABLED(CONFIG_X86))
		free_irq(5, &lent_device);
	misc_deregister(&lent_device);
}

module_init(lent_init);
module_exit(lent_exit);
MODULE_DESCRIPTION("Fault: what it registered calls a module that died");
MODULE_LICENSE("GPL");
