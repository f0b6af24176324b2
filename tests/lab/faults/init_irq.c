// SPDX-License-Identifier: GPL-2.0-only
/* Takes an interrupt that nothing raises and dies in init. */
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/module.h>

#include "dies.h"

static int irq;

static irqreturn_t init_irq_handler(int number, void *device)
{
	return IRQ_HANDLED;
}

static int __init init_irq_init(void)
{
	int error;

	irq = irq_alloc_desc(NUMA_NO_NODE);
	if (irq < 0)
		return irq;
	irq_set_chip_and_handler(irq, &dummy_irq_chip, handle_simple_irq);
	error = request_irq(irq, init_irq_handler, 0, "lab_interrupt", NULL);
	if (error) {
		irq_free_desc(irq);
		return error;
	}
	return dies();
}

static void __exit init_irq_exit(void)
{
	free_irq(irq, NULL);
	irq_free_desc(irq);
}

module_init(init_irq_init);
module_exit(init_irq_exit);
MODULE_DESCRIPTION("Fault: dies in init with an interrupt taken");
MODULE_LICENSE("GPL");
