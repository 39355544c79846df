"""Programs that train, sample and show: the users of degrade, restore and samplers."""
