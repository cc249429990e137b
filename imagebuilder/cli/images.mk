# Images of imagebuilder in a Makefile, by their names.  For GNU make 4.2 and later.
#
#   include imagebuilder.mk
#
#   netboot.tar: $(call image,base)
#           tar -C "$(call image-path,base)" -cf $@ vmlinuz initrd.img rootfs.squashfs
#
# $(call image,NAME)       a file that becomes newer whenever the image becomes another one
# $(call image-path,NAME)  in the lines of a rule: the folder of the image
# images                   a target: all images of the project
#
# Which are out of date is asked once, when make starts: make has nothing to do for the others,
# and make -q and make -n answer as they should.  Made by: imagebuilder makefile

IMAGEBUILDER ?= imagebuilder
# The project's folder, and where the files are that stand for images.
IMAGEBUILDER_PROJECT ?= .
IMAGEBUILDER_STAMPS ?= .imagebuilder

image = $(IMAGEBUILDER_STAMPS)/$(1)
image-path = $$(cat '$(call image,$(1))')

# A name of each recipe, with a ! behind it if its image is out of date.
imagebuilder-state := $(shell $(IMAGEBUILDER) -C '$(IMAGEBUILDER_PROJECT)' makefile --state '$(IMAGEBUILDER_STAMPS)')
ifneq ($(.SHELLSTATUS),0)
  $(error imagebuilder cannot say which images are out of date: see above)
endif
imagebuilder-all := $(patsubst %!,%,$(imagebuilder-state))
imagebuilder-stale := $(patsubst %!,%,$(filter %!,$(imagebuilder-state)))

.PHONY: images imagebuilder-stale
images: $(imagebuilder-all:%=$(IMAGEBUILDER_STAMPS)/%)
imagebuilder-stale:
$(imagebuilder-stale:%=$(IMAGEBUILDER_STAMPS)/%): imagebuilder-stale
$(imagebuilder-all:%=$(IMAGEBUILDER_STAMPS)/%): $(IMAGEBUILDER_STAMPS)/%:
	$(IMAGEBUILDER) -C '$(IMAGEBUILDER_PROJECT)' build --stamp '$@' '$*'
