/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_guest.S - a boot sector that proves its own memory, for stream_replay.py.
 *
 * Round n writes n into the first word of each 4 KiB page from 1 MiB to 65 MiB, after checking that the page
 * still holds n - 1. After each round it writes a line to the first serial port: n as eight hexadecimal
 * digits, then '.' if every page was right or '!' if one was not. (The first line may say '!': the firmware
 * left something there.) Runs in real mode with a flat FS.
 *
 *     as --32 stream_guest.S -o guest.o
 *     ld -m elf_i386 -Ttext 0x7c00 --oformat binary guest.o -o guest.img
 */
.code16
.globl _start
_start:
	cli
	xor %ax,%ax
	mov %ax,%ds
	mov %ax,%ss
	mov $0x7c00,%sp
	lgdt gdtr
	mov %cr0,%eax
	or $1,%al
	mov %eax,%cr0
	mov $8,%bx
	mov %bx,%fs
	and $0xfe,%al
	mov %eax,%cr0
	xor %ebp,%ebp
again:
	mov $'.',%bl
	mov $0x100000,%edi
page:
	cmp %ebp,%fs:(%edi)
	je 1f
	mov $'!',%bl
1:	lea 1(%ebp),%eax
	mov %eax,%fs:(%edi)
	add $0x1000,%edi
	cmp $0x4100000,%edi
	jb page
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
	jmp again
put:
	push %dx
	push %ax
	mov $0x3fd,%dx
3:	in %dx,%al
	test $0x20,%al
	jz 3b
	pop %ax
	mov $0x3f8,%dx
	out %al,%dx
	pop %dx
	ret
	.balign 4
gdt:	.quad 0
	.quad 0x00cf92000000ffff
gdtr:	.word 15
	.long gdt
	.org 510
	.word 0xaa55
