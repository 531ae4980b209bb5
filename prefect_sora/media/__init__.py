"""What a video is: MP4 files, their frames and previews, and many joined to one."""
