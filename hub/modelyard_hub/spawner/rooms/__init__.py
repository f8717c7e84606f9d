"""How much room there is for a server of each profile. Pure, but for the look at this machine."""
