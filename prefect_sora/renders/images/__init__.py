"""Images: pictures made and changed by image models, paid once and kept like videos.

An image model answers with the picture itself: there is no job to ask for, so a request
whose answer is lost is in doubt for good, and the way is `identify → reserve → ask → keep`.
"""
