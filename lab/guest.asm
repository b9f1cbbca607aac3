; The lab's guest: a program without an operating system that dirties memory at a set rate,
; proves that its memory and its disks are whole, and costs nearly no CPU when it has little to do.
;
; What it does
;   - 100 times a second (PIT, IRQ 0) it reads the ACPI timer, works out how many pages are due by
;     the clock since the last time, and writes that many pages of its working set. A late tick is
;     caught up for 50 ms at most, so that a throttled guest does dirty less.
;   - Every double word of the working set first holds its own address. A pass over the working set
;     adds SALT to four cells of each page. Before it writes a cell it compares it with what the
;     pass before must have left: any other value is a memory fault.
;   - Once a second it reads its record back from each disk and compares it with the record that it
;     wrote last. Another value means that somebody else wrote this disk: a split. Then it writes a
;     new record with a new nonce (TSC). So, of two copies of one guest, both notice.
;   - If it is asked to, it leaves a trace: every so many ticks it writes a count and its boot's
;     nonce to a sector that only every eighth boot uses. Whoever reads the disk sees when each boot
;     wrote last. The guest itself looks once a second whether the boot before still writes, which
;     is a split too. So not even one write by an older copy stays unnoticed.
;   - It powers off when its power button is pressed (ACPI).
;   - Every beat, every split and the first fault is a line on the first serial port.
;
; Memory
;   00005000 interrupt descriptors      00007c00 stack, downwards; this code, upwards
;   00007000 report (one sector)        00100000 working set
;   00007200 sector read from a disk
;   00007400 trace (one sector)
;
; Why it forgets a translation (invlpg) before each store, and keeps what it writes next to its code
;   QEMU's software emulation before 9.0 loses writes in a live migration: when it collects the dirty
;   pages, it leaves the CPU's cached translations as they were, and what is written through one of
;   them is not noticed ("physmem: Fix migration dirty bitmap coherency with TCG memory access").
;   A store right after invlpg is always noticed, and so is each store into a page that holds code
;   which runs. Thus a fault that this guest reports is a fault of the migration.
;
; Disk: this code from sector 0; the record (a copy of the report) in sector RECORD_SECTOR; the
; traces of the latest boots from sector TRACE_SECTOR on.

RECORD_SECTOR   equ 64
TRACE_SECTOR    equ 72
TRACES          equ 8                   ; a power of 2
IDT             equ 0x5000
REPORT          equ 0x7000
SECTOR          equ 0x7200
TRACE           equ 0x7400
STACK           equ 0x7c00
WORKING_SET     equ 0x100000
PAGE            equ 4096
SALT            equ 0x9E3779B1          ; odd, so that no two passes of 2^32 look alike

POWER_EVENT     equ 0x600               ; ACPI of machine "pc": status, then what is enabled
POWER_CONTROL   equ 0x604
POWER_BUTTON    equ 1 << 8
SOFT_OFF        equ 1 << 13             ; sleep type 0
TIMER_PORT      equ 0x608               ; ACPI timer of machine "pc": 24 bits at TIMER_HZ
TIMER_HZ        equ 3579545
CATCH_UP        equ TIMER_HZ / 20       ; 50 ms
TICK_DIVISOR    equ 11932               ; 1193182 Hz / 100
ATA             equ 0x1f0
SERIAL          equ 0x3f8

MAGIC           equ 'GDWT'
TRACE_MAGIC     equ 'LIFE'
struc report
    .magic      resd 1
    .boots      resd 1                  ; of this disk, counted in its record
    .ticks      resd 1
    .beats      resd 1                  ; seconds lived, goes on over boots
    .nonce      resd 2
    .passes     resd 1                  ; finished walks through the working set
    .cursor     resd 1                  ; address of the page that is next
    .faults     resd 1                  ; cells that did not hold what they must
    .fault_at   resd 1                  ; address of the latest one
    .splits     resd 1                  ; records that this guest did not write
    .errors     resd 1                  ; disk commands that failed
    .pages      resd 1                  ; the three parameters, below
    .rate       resd 1
    .drives     resd 1
    .end        resd 1                  ; from here on for the guest alone: end of the working set
    .salt       resd 1                  ; what finished passes have added to each cell
    .last_timer resd 1
    .since_beat resd 1                  ; timer steps since the last beat
    .remainder  resd 1                  ; of the division that yields the pages due
endstruc
%define R(field) [REPORT + report. %+ field]

struc trace
    .magic      resd 1
    .boots      resd 1
    .nonce      resd 2                  ; of the boot
    .count      resd 1                  ; writes of this boot
endstruc

; ------------------------------------------------------------------------------ real mode: load
        org 0x7c00
        bits 16
start:
        cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, STACK
        mov ah, 0x02                    ; BIOS: read sectors
        mov al, SECTORS - 1
        mov cx, 0x0002                  ; cylinder 0, sector 2
        mov dh, 0                       ; head 0; dl is the boot disk
        mov bx, second_sector
        int 0x13
        in al, 0x92                     ; open the A20 gate
        or al, 2
        out 0x92, al
        lgdt [gdt_pointer]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp 0x08:protected

gdt:
        dq 0
        dq 0x00cf9b000000ffff           ; 08: code, flat 4 GiB
        dq 0x00cf93000000ffff           ; 10: data, flat 4 GiB
gdt_pointer:
        dw gdt_pointer - gdt - 1
        dd gdt
idt_pointer:
        dw 0x21 * 8 - 1
        dd IDT

        times 510 - 16 - ($ - $$) db 0
interval: dd 0                          ; ticks from trace to trace; 0 for none
pages:  dd 256                          ; size of the working set in pages, at least 1
rate:   dd 0                            ; pages to dirty per second
drives: dd 1                            ; disks with a record: 1 (hda) or 2 (hda and hdb)
        dw 0xaa55

second_sector:
        bits 32
; ----------------------------------------------------------------------------- 100 times a second
tick:
        pushad
        mov al, 0x20                    ; end of interrupt
        out 0x20, al
        inc dword R(ticks)

        mov dx, TIMER_PORT              ; eax = timer steps since the last tick
        in eax, dx
        mov ecx, eax
        sub eax, R(last_timer)
        mov R(last_timer), ecx
        and eax, 0xffffff
        add R(since_beat), eax

        cmp eax, CATCH_UP
        jbe .in_time
        mov eax, CATCH_UP
.in_time:
        mul dword R(rate)               ; pages due = (steps * rate + remainder) / TIMER_HZ
        add eax, R(remainder)
        adc edx, 0
        mov ecx, TIMER_HZ
        div ecx
        mov R(remainder), edx
        mov ecx, eax
        test eax, eax
        jz .done

        mov edi, R(cursor)
        mov esi, R(salt)
        lea edx, [esi + SALT]
.page:
%macro cell 1                           ; verify and advance the cell at an offset in the page
        lea ebx, [edi + %1]
        lea eax, [ebx + esi]
        cmp eax, [ebx]
        je %%whole
        call memory_fault
%%whole:
        lea eax, [ebx + edx]
        invlpg [ebx]
        mov [ebx], eax
%endmacro
        cell 0
        cell 0x554
        cell 0xaa8
        cell PAGE - 4
        add edi, PAGE
        cmp edi, R(end)
        jb .next
        mov edi, WORKING_SET            ; a pass is finished
        inc dword R(passes)
        mov esi, edx
        mov R(salt), esi
        lea edx, [esi + SALT]
.next:
        mov R(cursor), edi
        dec ecx
        jnz .page
.done:
        popad
        iretd

; In: ebx = address of a cell that does not hold what it must.
memory_fault:
        inc dword R(faults)
        mov R(fault_at), ebx
        cmp dword R(faults), 1          ; the beat shows how many follow
        jne .told
        pushad
        mov esi, text_fault
        call print
        mov eax, ebx
        call print_number
        mov esi, text_end
        call print
        popad
.told:
        ret

; ------------------------------------------------------------------------- protected mode: set up
protected:
        mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, STACK
        cld

        mov edi, REPORT                 ; an empty report, with the parameters
        xor eax, eax
        mov ecx, 512 / 4
        rep stosd
        mov dword R(magic), MAGIC
        mov eax, [pages]
        mov R(pages), eax
        mov eax, [rate]
        mov R(rate), eax
        mov eax, [drives]
        mov R(drives), eax
        mov dword R(cursor), WORKING_SET

        mov edi, WORKING_SET            ; pass 0: each double word holds its own address
        mov ecx, [pages]
        shl ecx, 12
        add ecx, edi
        mov R(end), ecx
.fill:
        mov [edi], edi
        add edi, 4
        cmp edi, ecx
        jb .fill

        mov edi, IDT                    ; no exception is expected: a fault resets the guest
        xor eax, eax
        mov ecx, 0x21 * 2
        rep stosd
        mov eax, tick
        mov word [IDT + 0x20 * 8], ax
        mov word [IDT + 0x20 * 8 + 2], 0x08
        mov word [IDT + 0x20 * 8 + 4], 0x8e00
        shr eax, 16
        mov word [IDT + 0x20 * 8 + 6], ax
        lidt [idt_pointer]

        mov al, 0x11                    ; interrupt controllers: IRQ 0 is vector 0x20,
        out 0x20, al                    ; everything else is masked
        out 0xa0, al
        mov al, 0x20
        out 0x21, al
        mov al, 0x28
        out 0xa1, al
        mov al, 4
        out 0x21, al
        mov al, 2
        out 0xa1, al
        mov al, 1
        out 0x21, al
        out 0xa1, al
        mov al, 0xfe
        out 0x21, al
        mov al, 0xff
        out 0xa1, al

        mov al, 2                       ; no disk interrupts: they are polled
        mov dx, ATA + 0x206
        out dx, al

        mov al, 0x34                    ; PIT: counter 0, rate generator
        out 0x43, al
        mov al, TICK_DIVISOR & 0xff
        out 0x40, al
        mov al, TICK_DIVISOR >> 8
        out 0x40, al
        mov dx, TIMER_PORT
        in eax, dx
        mov R(last_timer), eax

        mov dx, POWER_EVENT + 2         ; only the button's status is wanted: its IRQ is masked
        mov ax, POWER_BUTTON
        out dx, ax

        sti
        call adopt_record
        call begin_trace

; ----------------------------------------------------------------------------- once a second
wait_for_beat:
        hlt
        mov dx, POWER_EVENT
        in ax, dx
        test ax, POWER_BUTTON
        jz .stay_on
        mov dx, POWER_CONTROL
        mov ax, SOFT_OFF
        out dx, ax
.stay_on:
        call leave_trace
        cmp dword R(since_beat), TIMER_HZ
        jb wait_for_beat
        mov dword R(since_beat), 0
        call beat
        jmp wait_for_beat

; The first look at the boot disk: go on counting where the record stands.
adopt_record:
        xor ebx, ebx
        call read_record
        cmp dword [SECTOR + report.magic], MAGIC
        jne .blank
        mov eax, [SECTOR + report.boots]
        mov R(boots), eax
        mov eax, [SECTOR + report.beats]
        mov R(beats), eax
        mov eax, [SECTOR + report.splits]
        mov R(splits), eax
.blank:
        mov eax, R(boots)
        call read_trace
        mov esi, SECTOR + trace.nonce
        mov edi, previous
        mov ecx, 3                      ; both halves of the nonce and the count
        rep movsd
        inc dword R(boots)
        jmp write_records

beat:
        xor ebx, ebx                    ; is each disk's record the one that we wrote?
.check:
        call read_record
        mov esi, SECTOR + report.beats
        mov edi, REPORT + report.beats
        mov ecx, 3                      ; beats and both halves of the nonce
        repe cmpsd
        je .ours
        inc dword R(splits)
        mov esi, text_split
        call print
.ours:
        inc ebx
        cmp ebx, R(drives)
        jb .check
        cmp dword [interval], 0         ; does the boot before still write?
        je .alone
        mov eax, R(boots)
        dec eax
        call read_trace
        mov esi, SECTOR + trace.nonce
        mov edi, previous
        mov ecx, 3
        repe cmpsd
        je .alone
        mov esi, SECTOR + trace.nonce
        mov edi, previous
        mov ecx, 3
        rep movsd
        inc dword R(splits)
        mov esi, text_split
        call print
.alone:
        inc dword R(beats)
        call write_records
        mov esi, text_beat
        call print
        mov eax, R(beats)
        call print_number
        mov esi, text_passes
        call print
        mov eax, R(passes)
        call print_number
        mov esi, text_faults
        call print
        mov eax, R(faults)
        call print_number
        mov esi, text_splits
        call print
        mov eax, R(splits)
        call print_number
        mov esi, text_end
        jmp print

; ----------------------------------------------------------------------------- the trace on disk
begin_trace:
        mov edi, TRACE
        xor eax, eax
        mov ecx, 512 / 4
        rep stosd
        mov dword [TRACE + trace.magic], TRACE_MAGIC
        mov eax, R(boots)
        mov [TRACE + trace.boots], eax
        rdtsc
        mov [TRACE + trace.nonce], eax
        mov [TRACE + trace.nonce + 4], edx
        ret

leave_trace:
        cmp dword [interval], 0
        je .done
        mov eax, R(ticks)
        mov ecx, eax
        sub eax, [traced_at]
        cmp eax, [interval]
        jb .done
        mov [traced_at], ecx
        inc dword [TRACE + trace.count]
        mov eax, R(boots)
        call choose_trace
        xor ebx, ebx
        mov esi, TRACE
        call write_sector
        mov byte [sector], RECORD_SECTOR
.done:
        ret

; In: eax = boot. Out: its trace in SECTOR.
read_trace:
        call choose_trace
        xor ebx, ebx
        call read_record
        mov byte [sector], RECORD_SECTOR
        ret

; In: eax = boot. Changes al.
choose_trace:
        and al, TRACES - 1
        add al, TRACE_SECTOR
        mov [sector], al
        ret

; ----------------------------------------------------------------------------- the record on disk
; In: ebx = drive, 0 or 1.
read_record:
        mov al, 0x20                    ; ATA: read sectors
        call ata_command
        call ata_wait
        test al, 0x08                   ; data ready?
        jz .failed
        mov edi, SECTOR
        mov ecx, 256
        mov dx, ATA
        rep insw
        ret
.failed:
        inc dword R(errors)
        ret

write_records:
        rdtsc
        mov R(nonce), eax
        mov R(nonce + 4), edx
        xor ebx, ebx
.drive:
        mov esi, REPORT
        call write_sector
        mov al, 0xe7                    ; ATA: flush the disk's cache
        mov dx, ATA + 7
        out dx, al
        call ata_wait
        test al, 0x21                   ; error or device fault?
        jz .next
        inc dword R(errors)
.next:
        inc ebx
        cmp ebx, R(drives)
        jb .drive
        ret

; In: esi = content, ebx = drive.
write_sector:
        mov al, 0x30                    ; ATA: write sectors
        call ata_command
        call ata_wait
        test al, 0x08
        jz .failed
        mov ecx, 256
        mov dx, ATA
        rep outsw
        call ata_wait
        test al, 0x21                   ; error or device fault?
        jz .written
.failed:
        inc dword R(errors)
.written:
        ret

; In: al = command for the chosen sector, ebx = drive.
ata_command:
        push eax
        mov al, bl
        shl al, 4
        or al, 0xe0                     ; addresses are sector numbers
        mov dx, ATA + 6
        out dx, al
        call ata_wait
        mov dx, ATA + 2
        mov al, 1                       ; one sector
        out dx, al
        inc edx
        mov al, [sector]
        out dx, al
        inc edx
        xor al, al
        out dx, al
        inc edx
        out dx, al
        mov dx, ATA + 7
        pop eax
        out dx, al
        ret

; Out: al = status once the drive is not busy. Sleeps from tick to tick when it is.
ata_wait:
        mov dx, ATA + 7
        in al, dx
        test al, 0x80
        jz .ready
        hlt
        jmp ata_wait
.ready:
        ret

; ----------------------------------------------------------------------------- serial port
; In: esi = text that ends with 0. Changes al, dx, esi.
print:
        lodsb
        test al, al
        jz .end
        call put
        jmp print
.end:
        ret

; In: eax = number, printed as 8 hexadecimal digits. Changes eax, ecx, edx.
print_number:
        mov ecx, 8
.digit:
        rol eax, 4
        push eax
        and al, 0x0f
        add al, '0'
        cmp al, '9'
        jbe .put
        add al, 'a' - '0' - 10
.put:
        call put
        pop eax
        loop .digit
        ret

; In: al = character. Changes dx.
put:
        push eax
        mov dx, SERIAL + 5
.full:
        in al, dx
        test al, 0x20
        jz .full
        pop eax
        mov dx, SERIAL
        out dx, al
        ret

previous        dd 0, 0, 0              ; what the trace of the boot before holds
traced_at       dd 0                    ; tick of the latest trace
sector          db RECORD_SECTOR        ; that the next disk command is for

text_beat       db "beat ", 0
text_passes     db " passes ", 0
text_faults     db " faults ", 0
text_splits     db " splits ", 0
text_fault      db "MEMORY FAULT at ", 0
text_split      db "DISK SPLIT: another guest wrote this disk", 10, 0
text_end        db 10, 0

        times (512 - ($ - $$) % 512) % 512 db 0
SECTORS         equ ($ - $$) / 512
