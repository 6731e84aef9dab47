/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest.S - a machine's whole firmware that proves its own memory, for tiny.py: it runs 10 ms after QEMU has started.
 *
 * Round n writes to each 32-bit word from 1 MiB to 5 MiB its address plus n times an odd number, after checking that the
 * word still holds what round n - 1 wrote. After each round it writes a line to the first serial port: n as eight
 * hexadecimal digits, then '.' if every word was right or '!' if one was not. Then it waits a little, so that a migration
 * converges. Runs in real mode with a flat FS.
 *
 *     as --32 guest.S -o guest.o
 *     ld -m elf_i386 -Ttext 0 --oformat binary guest.o -o guest.rom
 */
.code16
.globl _start
_start:
	cli
	xor %ax,%ax
	mov %ax,%ss
	mov $0x7c00,%sp
	mov %cs,%ax
	mov %ax,%ds
	lgdtl gdtr
	mov %cr0,%eax
	or $1,%al
	mov %eax,%cr0
	mov $8,%bx
	mov %bx,%fs
	and $0xfe,%al
	mov %eax,%cr0
	xor %ebp,%ebp /* the round */
	xor %esi,%esi /* what the last round added to an address */
again:
	mov $'.',%bl
	mov $0x100000,%edi
word:
	lea (%esi,%edi),%eax
	cmp %eax,%fs:(%edi)
	je 1f
	test %ebp,%ebp
	je 1f
	mov $'!',%bl
1:	add $0x9e3779b1,%eax
	mov %eax,%fs:(%edi)
	add $4,%edi
	cmp $0x500000,%edi
	jb word
	add $0x9e3779b1,%esi
	inc %ebp
	mov $8,%cx
	mov %ebp,%edx
digit:
	rol $4,%edx
	mov %dl,%al
	and $15,%al
	cmp $10,%al
	jb 2f
	add $39,%al
2:	add $'0',%al
	call put
	loop digit
	mov %bl,%al
	call put
	mov $10,%al
	call put
	mov $5000000,%ecx
3:	dec %ecx
	jnz 3b
	jmp again
put:
	push %dx
	push %ax
	mov $0x3fd,%dx
4:	in %dx,%al
	test $0x20,%al
	jz 4b
	pop %ax
	mov $0x3f8,%dx
	out %al,%dx
	pop %dx
	ret
	.balign 4
gdt:	.quad 0
	.quad 0x00cf93000000ffff /* accessed: the processor cannot note that in a ROM */
gdtr:	.word 15
	.long 0xf0000 + gdt
	.org 0xfff0
	ljmp $0xf000,$_start
	.org 0x10000
