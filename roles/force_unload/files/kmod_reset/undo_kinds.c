// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the kernel takes back each kind of thing that modules register. What can be
 * asked is asked again: that it calls the target, is registered, and is not used.
 */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/kprobes.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/notifier.h>
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/rtnetlink.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/sysctl.h>
#include <linux/timer.h>
#include <linux/tracepoint.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "kmod_reset.h"

#define UNDO_PAUSE_MS		20
/* enum KTHREAD_BITS in kernel/kthread.c, in the first word of struct kthread. */
#define SHOULD_STOP		1

#ifdef HAVE_TIMER_DELETE_SYNC_TRY
#define try_to_del_timer_sync	timer_delete_sync_try
#endif

/* Whether what lies there calls the target, and so is what user space took it for. */
static bool calls(const struct undoing *undoing, const void *function)
{
	unsigned long called;

	return !get_kernel_nofault(called, (unsigned long *)function) &&
	       within_module(called, undoing->target);
}

static bool is_in_time(const struct undoing *undoing)
{
	msleep(UNDO_PAUSE_MS);
	return time_before(jiffies, undoing->deadline);
}

static enum undo_result result_of(int error)
{
	return error ? UNDO_NOT_THERE : UNDO_DONE;
}

/* What was taken off a list is freed when those are done who may be reading it. */
static enum undo_result undo_awaited(struct undoing *undoing)
{
	rcu_barrier();
#ifdef HAVE_KVFREE_RCU_BARRIER
	kvfree_rcu_barrier();
#endif
	return UNDO_DONE;
}

/* One that arms itself again is caught between two of its calls. */
static enum undo_result undo_timer(struct undoing *undoing)
{
	struct timer_list *timer = (void *)undoing->step.address;

	if (!calls(undoing, &timer->function))
		return UNDO_NOT_THERE;
	do {
		if (try_to_del_timer_sync(timer) >= 0 && !timer_pending(timer))
			return UNDO_DONE;
	} while (is_in_time(undoing));
	return UNDO_IN_USE;
}

static enum undo_result undo_hrtimer(struct undoing *undoing)
{
	struct hrtimer *timer = (void *)undoing->step.address;

	if (!calls(undoing, &ACCESS_PRIVATE(timer, function)))
		return UNDO_NOT_THERE;
	do {
		if (hrtimer_try_to_cancel(timer) >= 0)
			return UNDO_DONE;
	} while (is_in_time(undoing));
	return UNDO_IN_USE;
}

/* What waits for a work that never ends would never end either. */
static enum undo_result until_it_rests(struct undoing *undoing, struct work_struct *work)
{
	if (!calls(undoing, &work->func))
		return UNDO_NOT_THERE;
	while (work_busy(work) & WORK_BUSY_RUNNING) {
		if (!is_in_time(undoing))
			return UNDO_IN_USE;
	}
	return UNDO_DONE;
}

static enum undo_result undo_work(struct undoing *undoing)
{
	struct work_struct *work = (void *)undoing->step.address;
	enum undo_result rests = until_it_rests(undoing, work);

	if (rests == UNDO_DONE)
		cancel_work_sync(work);
	return rests;
}

static enum undo_result undo_delayed_work(struct undoing *undoing)
{
	struct delayed_work *work = (void *)undoing->step.address;
	enum undo_result rests = until_it_rests(undoing, &work->work);

	if (rests == UNDO_DONE && work->timer.function != delayed_work_timer_fn)
		rests = UNDO_NOT_THERE;
	if (rests == UNDO_DONE)
		cancel_delayed_work_sync(work);
	return rests;
}

/* It waits for the works that are in it. */
static enum undo_result undo_workqueue(struct undoing *undoing)
{
	destroy_workqueue((struct workqueue_struct *)undoing->step.address);
	return UNDO_DONE;
}

static enum undo_result undo_interrupt(struct undoing *undoing)
{
	const struct irqaction *action = (void *)undoing->step.address;

	if (!calls(undoing, &action->handler) && !calls(undoing, &action->thread_fn))
		return UNDO_NOT_THERE;
	return free_irq(action->irq, action->dev_id) ? UNDO_DONE : UNDO_NOT_THERE;
}

static enum undo_result undo_atomic_notifier(struct undoing *undoing)
{
	return result_of(atomic_notifier_chain_unregister((void *)undoing->step.other,
							  (void *)undoing->step.address));
}

static enum undo_result undo_blocking_notifier(struct undoing *undoing)
{
	return result_of(blocking_notifier_chain_unregister((void *)undoing->step.other,
							    (void *)undoing->step.address));
}

static enum undo_result undo_filesystem(struct undoing *undoing)
{
	return result_of(unregister_filesystem((struct file_system_type *)undoing->step.address));
}

static enum undo_result undo_sysctl(struct undoing *undoing)
{
	unregister_sysctl_table((void *)undoing->step.address);
	return UNDO_DONE;
}

#ifdef CONFIG_NET
/* unregister_netdevice_notifier() would tell it of each device that this were gone. */
static enum undo_result undo_netdevice_notifier(struct undoing *undoing)
{
	int error;

	while (!rtnl_trylock()) {
		if (!is_in_time(undoing))
			return UNDO_IN_USE;
	}
	error = raw_notifier_chain_unregister((void *)undoing->step.other,
					      (void *)undoing->step.address);
	rtnl_unlock();
	return result_of(error);
}

static enum undo_result undo_packet(struct undoing *undoing)
{
	struct packet_type *handler = (void *)undoing->step.address;

	if (!calls(undoing, &handler->func) || !is_linked(&handler->list))
		return UNDO_NOT_THERE;
	dev_remove_pack(handler);
	return UNDO_DONE;
}

static enum undo_result undo_netdev(struct undoing *undoing)
{
	struct net_device *device = (void *)undoing->step.address;
	bool frees_itself = device->needs_free_netdev;

	if (device->reg_state != NETREG_REGISTERED)
		return UNDO_NOT_THERE;
	/* Those go with it: a VLAN of somebody's, a port of a bridge. */
	if (!list_empty(&device->adj_list.upper))
		return UNDO_IN_USE;
	/* Under the lock of all network devices: if that code dies, nobody gets it again. */
	if ((device->flags & IFF_UP && device->netdev_ops->ndo_stop) ||
	    device->netdev_ops->ndo_uninit || device->priv_destructor)
		return UNDO_OWN_CODE;
	unregister_netdev(device);
	if (!frees_itself)
		free_netdev(device);
	return UNDO_DONE;
}
#endif

#ifdef CONFIG_NETFILTER
static enum undo_result undo_netfilter(struct undoing *undoing)
{
	const struct nf_hook_ops *hook = (void *)undoing->step.address;

	if (!calls(undoing, &hook->hook))
		return UNDO_NOT_THERE;
	nf_unregister_net_hook((struct net *)undoing->step.other, hook);
	return UNDO_DONE;
}
#endif

#ifdef CONFIG_KPROBES
static enum undo_result undo_kprobe(struct undoing *undoing)
{
	unregister_kprobe((struct kprobe *)undoing->step.address);
	return UNDO_DONE;
}
#endif

#ifdef CONFIG_KRETPROBES
static enum undo_result undo_kretprobe(struct undoing *undoing)
{
	unregister_kretprobe((struct kretprobe *)undoing->step.address);
	return UNDO_DONE;
}
#endif

#ifdef CONFIG_TRACEPOINTS
static enum undo_result undo_tracepoint(struct undoing *undoing)
{
	return result_of(tracepoint_probe_unregister((void *)undoing->step.other,
						     (void *)undoing->step.address,
						     (void *)undoing->step.more));
}
#endif

#ifdef CONFIG_FUNCTION_TRACER
static enum undo_result undo_ftrace(struct undoing *undoing)
{
	struct ftrace_ops *ops = (void *)undoing->step.address;

	if (!(ops->flags & FTRACE_OPS_FL_ENABLED))
		return UNDO_NOT_THERE;
	return result_of(unregister_ftrace_function(ops));
}
#endif

/* As kthread_stop() does, which would wait for ever where the thread does not heed it. */
static enum undo_result undo_thread(struct undoing *undoing)
{
	struct task_struct *task = get_pid_task(find_vpid(undoing->step.address), PIDTYPE_PID);
	unsigned long *flags;

	if (!task)
		return UNDO_NOT_THERE;
#ifdef HAVE_WORKER_PRIVATE
	flags = (unsigned long *)task->worker_private;
#else
	flags = (unsigned long *)task->set_child_tid;
#endif
	if (!(task->flags & PF_KTHREAD) || (unsigned long)flags != undoing->step.other) {
		put_task_struct(task);
		return UNDO_NOT_THERE;
	}
	set_bit(SHOULD_STOP, flags);
	do {
		wake_up_process(task);
	} while (is_in_time(undoing) && !READ_ONCE(task->exit_state));
	undoing->result = UNDO_IN_USE;
	if (READ_ONCE(task->exit_state))
		undoing->result = task->exit_code & 0x7f ? UNDO_DIED : UNDO_DONE;
	put_task_struct(task);
	return undoing->result;
}

static enum undo_result (*const undo_by_kind[UNDO_KINDS])(struct undoing *) = {
	[UNDO_NOTHING] = undo_awaited,
	[UNDO_MISC] = undo_misc,
	[UNDO_CDEV] = undo_cdev,
	[UNDO_DEVICE] = undo_device,
	[UNDO_CLASS] = undo_class,
	[UNDO_PROC] = undo_proc,
	[UNDO_DEBUGFS] = undo_debugfs,
	[UNDO_SYSFS_FILE] = undo_sysfs_file,
	[UNDO_KOBJECT] = undo_kobject,
	[UNDO_TIMER] = undo_timer,
	[UNDO_HRTIMER] = undo_hrtimer,
	[UNDO_WORK] = undo_work,
	[UNDO_DELAYED_WORK] = undo_delayed_work,
	[UNDO_INTERRUPT] = undo_interrupt,
	[UNDO_ATOMIC_NOTIFIER] = undo_atomic_notifier,
	[UNDO_BLOCKING_NOTIFIER] = undo_blocking_notifier,
	[UNDO_FILESYSTEM] = undo_filesystem,
	[UNDO_SYSCTL] = undo_sysctl,
	[UNDO_DRIVER] = undo_driver,
	[UNDO_THREAD] = undo_thread,
	[UNDO_SYSFS_GROUP] = undo_sysfs_group,
	[UNDO_PLATFORM_DEVICE] = undo_platform_device,
	[UNDO_BUS] = undo_bus,
	[UNDO_WORKQUEUE] = undo_workqueue,
#ifdef CONFIG_NET
	[UNDO_NETDEVICE_NOTIFIER] = undo_netdevice_notifier,
	[UNDO_PACKET] = undo_packet,
	[UNDO_NETDEV] = undo_netdev,
#endif
#ifdef CONFIG_NETFILTER
	[UNDO_NETFILTER] = undo_netfilter,
#endif
#ifdef CONFIG_KPROBES
	[UNDO_KPROBE] = undo_kprobe,
#endif
#ifdef CONFIG_KRETPROBES
	[UNDO_KRETPROBE] = undo_kretprobe,
#endif
#ifdef CONFIG_TRACEPOINTS
	[UNDO_TRACEPOINT] = undo_tracepoint,
#endif
#ifdef CONFIG_FUNCTION_TRACER
	[UNDO_FTRACE] = undo_ftrace,
#endif
};
