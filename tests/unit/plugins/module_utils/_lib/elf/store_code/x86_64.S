/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * init of the synthesized helper, as plugins/module_utils/_lib/elf/store_code.py has
 * it in bytes: int init_module(void), leaf, no call, no indirect jump.
 *
 * table: &modules, &target->list, compares, stores, then
 *   compares times { address, mask, expected }
 *   stores times { address, bytes (4 or 8), expected, value }
 * Returns -125 (ECANCELED) when all is stored, -1000 when the target is not
 * in the list, -1100 - n when compare n differs, -1200 - n when store n found
 * another value; what was stored before it has then been put back.
 */
	.text
	.globl	init_module
init_module:
	endbr64
	movabs	$0, %rsi		/* R_X86_64_64 table */
	mov	(%rsi), %rdx
	mov	8(%rsi), %rdi
	mov	(%rdx), %rax
	mov	$65536, %ecx
next_module:
	cmp	%rdi, %rax
	je	found
	cmp	%rdx, %rax
	je	absent
	mov	(%rax), %rax
	dec	%ecx
	jnz	next_module
absent:
	mov	$-1000, %eax
	ret
found:
	mov	16(%rsi), %ecx
	mov	24(%rsi), %r8d
	add	$32, %rsi
	xor	%edx, %edx
compare:
	cmp	%ecx, %edx
	je	compared
	mov	(%rsi), %rdi
	mov	(%rdi), %rax
	and	8(%rsi), %rax
	cmp	16(%rsi), %rax
	jne	differs
	add	$24, %rsi
	inc	%edx
	jmp	compare
differs:
	mov	$-1100, %eax
	sub	%edx, %eax
	ret
compared:
	xor	%edx, %edx
store:
	cmp	%r8d, %edx
	je	stored
	mov	(%rsi), %rdi
	mov	16(%rsi), %rax
	mov	24(%rsi), %r9
	cmpl	$4, 8(%rsi)
	je	store_half
	lock cmpxchg %r9, (%rdi)
	jne	undo
	jmp	next_store
store_half:
	lock cmpxchg %r9d, (%rdi)
	jne	undo
next_store:
	add	$32, %rsi
	inc	%edx
	jmp	store
undo:
	mov	%edx, %ecx
undo_next:
	test	%ecx, %ecx
	jz	undone
	sub	$32, %rsi
	dec	%ecx
	mov	(%rsi), %rdi
	mov	24(%rsi), %rax
	mov	16(%rsi), %r9
	cmpl	$4, 8(%rsi)
	je	undo_half
	lock cmpxchg %r9, (%rdi)
	jmp	undo_next
undo_half:
	lock cmpxchg %r9d, (%rdi)
	jmp	undo_next
undone:
	mov	$-1200, %eax
	sub	%edx, %eax
	ret
stored:
	mov	$-125, %eax
	ret
