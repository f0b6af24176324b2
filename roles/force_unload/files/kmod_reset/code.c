// SPDX-License-Identifier: GPL-2.0-only
/*
 * Words that lie in the target's code: on the stack of a task, in its saved
 * registers, in what a CPU was doing.
 *
 * Conservative: any word in the target's text counts. Of a task that is off
 * its CPU the stack from the saved stack pointer up is read, since what lies
 * below are dead frames.
 */
#include <linux/ftrace.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "kmod_reset.h"

#define CHUNK_WORDS		32
#ifdef IRQ_STACK_SIZE
#define INTERRUPT_STACK_SIZE	IRQ_STACK_SIZE
#else
#define INTERRUPT_STACK_SIZE	THREAD_SIZE
#endif

struct text {
	unsigned long start;
	unsigned long size;
};

static struct text text[2];

static void set_text(int index, void *base, unsigned int size)
{
	text[index].start = (unsigned long)base;
	text[index].size = size;
}

static void find_text(struct module *mod)
{
#ifdef mod_mem_type_is_init
	set_text(0, mod->mem[MOD_TEXT].base, mod->mem[MOD_TEXT].size);
	set_text(1, mod->mem[MOD_INIT_TEXT].base, mod->mem[MOD_INIT_TEXT].size);
#else
	set_text(0, mod->core_layout.base, mod->core_layout.text_size);
	set_text(1, mod->init_layout.base, mod->init_layout.text_size);
#endif
}

static bool is_code(unsigned long word)
{
	int i;

#ifdef CONFIG_ARM64
	/* A signed return address carries its signature in the upper bits. */
	if (word & BIT(55))
		word |= GENMASK(63, VA_BITS_MIN - 1);
#endif
	for (i = 0; i < ARRAY_SIZE(text); i++) {
		/* The end as well: a call that never returns may be the last instruction. */
		if (text[i].size && word - text[i].start <= text[i].size)
			return true;
	}
	return false;
}

/*
 * The first word of [from, to) that is an address in the target's code, or 0.
 * Ends where memory does. @lowest, if given, is lowered to any word found that
 * lies between @floor and itself.
 */
static unsigned long code_between(unsigned long from, unsigned long to, unsigned long floor,
				  unsigned long *lowest)
{
	unsigned long words[CHUNK_WORDS];
	unsigned long bytes, i;

	for (from = ALIGN_DOWN(from, sizeof(long)); from < to; from += bytes) {
		/* A page is there as a whole or not at all. */
		bytes = min3(to - from, (unsigned long)sizeof(words),
			     PAGE_SIZE - offset_in_page(from));
		if (copy_from_kernel_nofault(words, (void *)from, bytes))
			break;
		for (i = 0; i < bytes / sizeof(long); i++) {
			if (is_code(words[i]))
				return words[i];
			if (lowest && words[i] >= floor && words[i] < *lowest)
				*lowest = words[i];
		}
	}
	return 0;
}

/* Above lie the registers of user space, which anybody can fill. */
static unsigned long stack_top(struct task_struct *task, unsigned long stack)
{
	return task->flags & PF_KTHREAD ? stack + THREAD_SIZE : (unsigned long)task_pt_regs(task);
}

/* Return addresses that a tracer took off the stack. */
static unsigned long code_traced(struct task_struct *task)
{
#ifdef CONFIG_FUNCTION_GRAPH_TRACER
	unsigned long kept = (unsigned long)READ_ONCE(task->ret_stack);
	/* The index of the last entry before 6.11, the number of words since. */
	unsigned long entries = READ_ONCE(task->curr_ret_stack) + 1L;
	unsigned long bytes = min(entries * sizeof(*task->ret_stack), PAGE_SIZE);

	if (kept)
		return code_between(kept, kept + bytes, 0, NULL);
#endif
	return 0;
}

/* @pointer: the lowest word of its stack that matters, or 0. */
static unsigned long code_of_task(struct task_struct *task, unsigned long pointer)
{
	unsigned long stack = (unsigned long)READ_ONCE(task->stack);
	unsigned long at;

	if (!stack)
		return 0;
	if (pointer < stack || pointer >= stack + THREAD_SIZE)
		pointer = stack;
	at = code_between(pointer, stack_top(task, stack), 0, NULL);
	return at ? at : code_traced(task);
}

/* Where the stack of a task that is off its CPU begins; 0 where that is not known. */
static unsigned long saved_pointer(struct task_struct *task)
{
#if defined(CONFIG_X86)
	return READ_ONCE(task->thread.sp);
#elif defined(CONFIG_ARM64)
	return READ_ONCE(task->thread.cpu_context.sp);
#else
	return 0;
#endif
}

/* What a task that is off its CPU does not keep on its stack. */
static unsigned long code_saved(struct task_struct *task)
{
#ifdef CONFIG_ARM64
	unsigned long context = (unsigned long)&task->thread.cpu_context;

	return code_between(context, context + sizeof(task->thread.cpu_context), 0, NULL);
#else
	return 0;
#endif
}

/*
 * In a hard interrupt. @here is on the stack of the interrupted task, or on one
 * for interrupts, which holds the task's stack pointer as it was: the lowest
 * word there that points into the task's stack is at that or below.
 */
static unsigned long code_interrupted(unsigned long here)
{
	unsigned long stack = (unsigned long)task_stack_page(current);
	unsigned long lowest = stack + THREAD_SIZE;
	unsigned long at;

	if (here >= stack && here < lowest)
		return code_of_task(current, here);
	at = code_between(here, here + INTERRUPT_STACK_SIZE, stack, &lowest);
	return at ? at : code_of_task(current, lowest);
}
