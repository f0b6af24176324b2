// SPDX-License-Identifier: GPL-2.0-only
/*
 * Once, as the module kmod_reset is about to run its init, CPU 1 takes no interrupts, for seconds.
 * Any sooner, and the load itself would wait for that CPU.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/string.h>

static DECLARE_COMPLETION(wanted);
static DECLARE_COMPLETION(are_off);

static int irqs_off_spin(void *unused)
{
	wait_for_completion(&wanted);
	local_irq_disable();
	complete_all(&are_off);
	mdelay(12000);
	local_irq_enable();
	return 0;
}

static int irqs_off_notice(struct notifier_block *nb, unsigned long state, void *data)
{
	struct module *mod = data;

	if (state == MODULE_STATE_COMING && !strcmp(mod->name, "kmod_reset")) {
		complete(&wanted);
		wait_for_completion(&are_off);
	}
	return NOTIFY_OK;
}

static struct notifier_block notice = { .notifier_call = irqs_off_notice };

static int __init irqs_off_init(void)
{
	struct task_struct *thread = kthread_create(irqs_off_spin, NULL, "lab_irqs_off");

	if (IS_ERR(thread))
		return PTR_ERR(thread);
	/* There is no exit: once used, it stays. */
	kthread_bind(thread, 1);
	wake_up_process(thread);
	return register_module_notifier(&notice);
}
module_init(irqs_off_init);

MODULE_DESCRIPTION("Fault: a CPU takes no interrupts while the helper looks");
MODULE_LICENSE("GPL");
