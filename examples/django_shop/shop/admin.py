"""The admin: photos with their tags, those first that a person should look at."""

from django.contrib import admin

from shop.models import Listing, Photo, Tag


class TagInline(admin.TabularInline):
    model = Tag
    extra = 0
    can_delete = False
    readonly_fields = ("task", "tag", "probability", "review")


@admin.register(Photo)
class PhotoAdmin(admin.ModelAdmin):
    list_display = ("__str__", "tag_words", "problem", "told")
    list_filter = ("tags__task", "tags__tag", "tags__review")
    inlines = (TagInline,)
    readonly_fields = ("problem",)

    @admin.display(description="tags")
    def tag_words(self, photo: Photo) -> str:
        return ", ".join(f"{one.task}: {one.tag}" for one in photo.tags.all())


admin.site.register(Listing)
