"""Launch: how a renderer behaves, where that of a folder answers, and how one is started."""
