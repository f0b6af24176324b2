// SPDX-License-Identifier: GPL-2.0-only
/*
 * The check before the write: does anything run in the target's code, or will
 * it return there?
 *
 * Every task that is off its CPU is read, and every CPU is interrupted and
 * tells what it was doing. Nothing is stopped: a task that spins in the kernel
 * would take the host with it.
 */
#include <linux/atomic.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/smp.h>
#include <linux/string.h>

#include "kmod_reset.h"

#ifndef HAVE_CALL_RCU_HURRY
#define call_rcu_hurry	call_rcu	/* not lazy then */
#endif

#define GRACE_PERIOD_JIFFIES	(3 * HZ)
#define CPU_JIFFIES		(2 * HZ)
#define LOOK_JIFFIES		(5 * HZ)
#define TASKS_AT_A_TIME		256
#define RESTARTS		10
#define MOVER_TRIES		50
#define LOOKS			4
#define LOOK_PAUSE_MS		25

/* Who holds this module's code: another context that is to call it, or nobody any more. */
enum { CALL_AWAITED, CALL_ENDED, CALL_GIVEN_UP };

struct cpu_look {
	call_single_data_t csd;
	atomic_t call;
	const struct task_struct *task;
	bool kernel_thread;
	pid_t pid;
	unsigned long at;
	char command[TASK_COMM_LEN];
};

enum seen { SEEN_CLEAR, SEEN_CODE, SEEN_MOVING, SEEN_SILENT };

static DEFINE_PER_CPU(struct cpu_look, cpu_looks);
static const struct task_struct *looker;

static struct rcu_head grace_period;
static atomic_t grace_period_call;
static bool given_up;

/* The last that a call does; it returns before a grace period ends, and so before a free. */
static void end_call(atomic_t *call)
{
	if (atomic_cmpxchg(call, CALL_AWAITED, CALL_ENDED) == CALL_GIVEN_UP)
		module_put(THIS_MODULE);
}

/* False where the call did not come; whenever it comes, the code must still be there. */
static bool await_call(atomic_t *call, unsigned long deadline)
{
	while (atomic_read_acquire(call) == CALL_AWAITED) {
		if (time_before(jiffies, deadline)) {
			usleep_range(20, 100);
			continue;
		}
		__module_get(THIS_MODULE);
		if (atomic_cmpxchg(call, CALL_AWAITED, CALL_GIVEN_UP) == CALL_AWAITED) {
			given_up = true;
			return false;
		}
		module_put(THIS_MODULE);
	}
	return true;
}

/* Whether a call was given up: this module must stay, and each such call holds a reference. */
bool still_needed(void)
{
	return given_up;
}

/* For good: what is not known to have ended may need the code at any time. */
void stay(void)
{
	__module_get(THIS_MODULE);
	given_up = true;
}

static void grace_period_ended(struct rcu_head *unused)
{
	end_call(&grace_period_call);
}

/* Neither the target nor this module can be freed otherwise: whoever tried would hang. */
bool grace_period_ends(void)
{
	call_rcu_hurry(&grace_period, grace_period_ended);
	return await_call(&grace_period_call, jiffies + GRACE_PERIOD_JIFFIES);
}

static bool is_on_cpu(struct task_struct *task)
{
#ifdef CONFIG_SMP
	/* Pairs with finish_task(): the registers are on the stack by then. */
	return smp_load_acquire(&task->on_cpu);
#else
	return task == current;
#endif
}

static unsigned long switches_of(struct task_struct *task)
{
	return READ_ONCE(task->nvcsw) + READ_ONCE(task->nivcsw);
}

static void look_at_interrupted(void *data)
{
	struct cpu_look *cpu = data;
	unsigned long here = (unsigned long)&here;

	cpu->task = current;
	cpu->kernel_thread = current->flags & PF_KTHREAD;
	cpu->pid = current->pid;
	strscpy(cpu->command, current->comm, sizeof(cpu->command));
	cpu->at = current == looker ? 0 : code_interrupted(here);
	end_call(&cpu->call);
}

/* Never waits: a CPU that does not take interrupts would hold whoever waits for it for ever. */
static void ask_cpu(int number)
{
	struct cpu_look *cpu = per_cpu_ptr(&cpu_looks, number);

	cpu->csd.func = look_at_interrupted;
	cpu->csd.info = cpu;
	cpu->task = NULL;
	cpu->at = 0;
	atomic_set_release(&cpu->call, CALL_AWAITED);
	if (smp_call_function_single_async(number, &cpu->csd))
		atomic_set(&cpu->call, CALL_ENDED);	/* it is no longer online */
}

static enum seen answer_of(int number, enum look_for whom, unsigned long deadline)
{
	struct cpu_look *cpu = per_cpu_ptr(&cpu_looks, number);

	if (!await_call(&cpu->call, deadline))
		return SEEN_SILENT;
	/* The next module may lie where this one does, and these bytes outlast it. */
	cpu->csd.func = NULL;
	if (!cpu->at || (cpu->kernel_thread && whom == LOOK_FOR_USER_TASKS))
		return SEEN_CLEAR;
	return SEEN_CODE;
}

static enum look_result report_cpu(int number, enum seen seen, struct reset_report *r)
{
	struct cpu_look *cpu = per_cpu_ptr(&cpu_looks, number);

	r->cpu = number;
	if (seen == SEEN_SILENT)
		return LOOK_SILENT;
	r->pid = cpu->pid;
	r->at = cpu->at;
	strscpy(r->command, cpu->command, sizeof(r->command));
	return LOOK_CPU;
}

static enum look_result look_at_cpus(enum look_for whom, struct reset_report *r)
{
	unsigned long deadline = jiffies + CPU_JIFFIES;
	enum look_result result = LOOK_CLEAR;
	cpumask_var_t asked;
	enum seen seen;
	int number;

	if (!zalloc_cpumask_var(&asked, GFP_KERNEL))
		return LOOK_UNFINISHED;
	for_each_online_cpu(number) {
		cpumask_set_cpu(number, asked);
		ask_cpu(number);
	}
	/* Each is awaited, since its call needs this code. What was seen says more than silence. */
	for_each_cpu(number, asked) {
		seen = answer_of(number, whom, deadline);
		if (seen == SEEN_CODE || (seen == SEEN_SILENT && result == LOOK_CLEAR))
			result = report_cpu(number, seen, r);
	}
	free_cpumask_var(asked);
	return result;
}

static enum seen look_at_sleeper(struct task_struct *task, unsigned long *at)
{
	unsigned long switches = switches_of(task);

	if (is_on_cpu(task))
		return SEEN_MOVING;
	*at = code_of_task(task, saved_pointer(task));
	if (!*at)
		*at = code_saved(task);
	/* The stack is read before the count, which rises before the task leaves a CPU. */
	smp_rmb();
	if (is_on_cpu(task) || switches_of(task) != switches)
		return SEEN_MOVING;
	return *at ? SEEN_CODE : SEEN_CLEAR;
}

static enum look_result report_task(struct task_struct *task, unsigned long at,
				    struct reset_report *r)
{
	r->pid = task->pid;
	r->at = at;
	strscpy(r->command, task->comm, sizeof(r->command));
	return LOOK_TASK;
}

/* A task that was on a CPU: that CPU says what it is doing, unless it has left it meanwhile. */
static enum look_result look_at_mover(struct task_struct *task, enum look_for whom,
				      struct reset_report *r)
{
	unsigned long at;
	enum seen seen;
	int tries, number;

	for (tries = 0; tries < MOVER_TRIES; tries++) {
		seen = look_at_sleeper(task, &at);
		if (seen == SEEN_CLEAR)
			return LOOK_CLEAR;
		if (seen == SEEN_CODE)
			return report_task(task, at, r);
		number = task_cpu(task);
		ask_cpu(number);
		seen = answer_of(number, whom, jiffies + CPU_JIFFIES);
		if (seen != SEEN_CLEAR)
			return report_cpu(number, seen, r);
		if (per_cpu_ptr(&cpu_looks, number)->task == task)
			return LOOK_CLEAR;
	}
	at = code_of_task(task, 0);
	return at ? report_task(task, at, r) : LOOK_CLEAR;
}

/*
 * Outside of the RCU read section, as check_hung_uninterruptible_tasks() does:
 * no grace period is held up for long. False where the walk cannot go on.
 */
static bool look_unlocked(struct task_struct *process, struct task_struct *task, bool moving,
			  enum look_for whom, struct reset_report *r, enum look_result *result)
{
	bool goes_on;

	get_task_struct(process);
	get_task_struct(task);
	rcu_read_unlock();
	if (moving)
		*result = look_at_mover(task, whom, r);
	cond_resched();
	rcu_read_lock();
	goes_on = pid_alive(process) && pid_alive(task);
	put_task_struct(task);
	put_task_struct(process);
	return goes_on;
}

/* LOOK_UNFINISHED where the walk broke off; r->tasks were looked at. */
static enum look_result walk_tasks(enum look_for whom, unsigned long deadline,
				   struct reset_report *r)
{
	enum look_result result = LOOK_CLEAR;
	struct task_struct *process, *task;
	bool goes_on = true;
	unsigned long at;
	enum seen seen;

	r->tasks = 0;
	rcu_read_lock();
	for_each_process_thread(process, task) {
		if (task == current)
			continue;
		if (whom == LOOK_FOR_USER_TASKS && task->flags & PF_KTHREAD)
			continue;
		r->tasks++;
		seen = look_at_sleeper(task, &at);
		if (seen == SEEN_CODE)
			result = report_task(task, at, r);
		else if (seen == SEEN_MOVING || r->tasks % TASKS_AT_A_TIME == 0)
			goes_on = look_unlocked(process, task, seen == SEEN_MOVING, whom, r,
						&result);
		if (result == LOOK_CLEAR && (!goes_on || time_after(jiffies, deadline)))
			result = LOOK_UNFINISHED;
		if (result != LOOK_CLEAR)
			goto unlock;
	}
unlock:
	rcu_read_unlock();
	return result;
}

static enum look_result look_at_tasks(enum look_for whom, struct reset_report *r)
{
	unsigned long deadline = jiffies + LOOK_JIFFIES;
	enum look_result result;
	int restarts = 0;

	/* The walk breaks off where the task that it rested at has ended. */
	do {
		result = walk_tasks(whom, deadline, r);
	} while (result == LOOK_UNFINISHED && restarts++ < RESTARTS &&
		 time_before(jiffies, deadline));
	return result;
}

/*
 * Under module_mutex. CPUs first: what a task that is off its CPU then does is
 * seen when its turn comes, and one that gets on a CPU meanwhile is looked for there.
 */
enum look_result look_for_users(struct module *mod, enum look_for whom, struct reset_report *r)
{
	u64 start = ktime_get_ns();
	enum look_result result;
	int looks = 0;

	find_text(mod);
	looker = current;
	/* Frames have holes, in which older words stand: who is there stays there. */
	do {
		if (looks)
			msleep(LOOK_PAUSE_MS);
		result = look_at_cpus(whom, r);
		if (result == LOOK_CLEAR)
			result = look_at_tasks(whom, r);
	} while ((result == LOOK_TASK || result == LOOK_CPU) && ++looks < LOOKS);
	r->nanoseconds = ktime_get_ns() - start;
	return result;
}
