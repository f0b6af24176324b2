// SPDX-License-Identifier: GPL-2.0-only
/* Has the device and the interrupt of the module lent call its own code, and dies in init. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "leaves.h"
#include "lent.h"

static const struct file_operations init_borrows_fops = {
	.owner = THIS_MODULE,
};

static const struct file_operations *lents_fops;

static irqreturn_t init_borrows_handle(int number, void *device)
{
	return IRQ_NONE;
}

static int init_borrows_leave(void)
{
	struct miscdevice *device = lent_get();
	int error = 0;

	if (IS_ENABLED(CONFIG_X86))
		error = request_irq(5, init_borrows_handle, IRQF_SHARED, "init_borrows", device);
	if (!error) {
		lents_fops = device->fops;
		device->fops = &init_borrows_fops;
	}
	return error;
}

/* Of the actions for one device free_irq() takes the first. */
static void init_borrows_take_back(void)
{
	lent_get()->fops = lents_fops;
	if (IS_ENABLED(CONFIG_X86))
		free_irq(5, lent_get());
}

LEAVES(init_borrows, "what another module registered calling it");
